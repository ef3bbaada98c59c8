// The video, or the time alone where there is none.

class Film {
  constructor({ url, offset }, duration, onTime) {
    Object.assign(this, { offset, duration, onTime });
    this.time = 0;
    this.player = byId("player");
    this.hasVideo = false;
    this.player.addEventListener("loadedmetadata", () => this.showVideo());
    this.player.addEventListener("error", () => this.player.getAttribute("src") && this.missVideo());
    for (const event of ["timeupdate", "seeking", "seeked"]) this.player.addEventListener(event, () => this.follow());
    this.player.addEventListener("play", () => this.followSmoothly());
    if (url) this.player.src = url;
    else byId("no-video").hidden = false;
    this.player.hidden = !url;
  }

  showVideo() {
    this.hasVideo = true;
    this.player.hidden = false;
    byId("no-video").hidden = true;
    if (this.time) this.seek(this.time);
  }

  missVideo() {
    this.hasVideo = false;
    this.player.hidden = true;
    byId("missing").textContent = "The video is not where it was beside this page, or this browser cannot play it.";
    byId("no-video").hidden = false;
  }

  /** A file that the reader of the page names. */
  open(file) {
    this.player.src = URL.createObjectURL(file);
  }

  seek(seconds) {
    this.time = Math.min(Math.max(seconds, 0), this.duration);
    if (this.hasVideo) this.player.currentTime = this.time + this.offset;
    this.onTime(this.time);
  }

  toggle() {
    if (!this.hasVideo) return;
    if (this.player.paused) this.player.play();
    else this.player.pause();
  }

  follow() {
    if (!this.hasVideo) return;
    const time = Math.min(Math.max(this.player.currentTime - this.offset, 0), this.duration);
    // Players round to microseconds, perhaps to before the segment that was asked for.
    if (Math.abs(time - this.time) > 0.001) this.time = time;
    this.onTime(this.time);
  }

  followSmoothly() {
    if (this.player.paused) return;
    this.follow();
    requestAnimationFrame(() => this.followSmoothly());
  }
}
