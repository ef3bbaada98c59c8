"""Builds the page from Gradio components and serves it."""

from html import escape
from typing import Any

from videonl.app.answers import Answers, explained
from videonl.app.sheet import as_html
from videonl.inference import Model
from videonl.terminal import printable

_FONTS = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")  # local fonts: no request to a third party


def build_page(model: Model, num_clips: int) -> Any:
    """Builds the page as Gradio ``Blocks``, for :func:`serve`.

    Args:
        model: The network that answers.
        num_clips: Clips whose scores are averaged for the top classes.
    """
    import gradio

    answers = Answers(model, num_clips)

    def problem(message: str) -> Exception:
        error: Exception = gradio.Error(escape(printable(message)), print_exception=False)
        return error

    def explain(answer: Any) -> Any:
        return explained(answer, problem)

    def attend(video: str | None, event: gradio.SelectData) -> Any:
        return as_html(explain(answers.attention)(video, *(int(place) for place in event.index)))

    names = list(model.class_names)
    with gradio.Blocks(title="videonl", analytics_enabled=False) as page:
        gradio.Markdown(f"# videonl\n{len(names)} classes, {model.clip.describe()}")
        with gradio.Row():
            video = gradio.Video(
                label="Video",
                sources=["upload", "webcam"],
                webcam_options=gradio.WebcamOptions(mirror=False),  # the network was not trained on mirror images
                elem_id="video",
            )
            label = gradio.Label(label="Top classes", num_top_classes=5, elem_id="classes")
        timeline = gradio.Plot(label="Over time", elem_id="timeline")
        options = {"interactive": False, "show_label": False, "format": "png", "buttons": ["fullscreen"]}
        gradio.Markdown("## The middle clip\nClick a point to see what it attends to.")
        frames = gradio.Image(elem_id="frames", **options)
        attention = gradio.HTML(elem_id="attention")
        gradio.Markdown("## Evidence\nThe regions that support a class, by Grad-CAM.")
        chosen = gradio.Dropdown(names, label="Class", value=None, elem_id="class")
        evidence = gradio.Image(elem_id="evidence", **options)

        cleared = [label, timeline, frames, attention, evidence]
        video.clear(lambda: [None] * len(cleared), None, cleared, api_visibility="private")
        asked = video.change(
            explain(lambda path: (*answers.classes(path), answers.frames(path), None)),
            video,
            [label, chosen, frames, attention],
            api_visibility="private",
            show_progress_on=label,
        )
        asked.success(explain(answers.evidence), [video, chosen], evidence, api_visibility="private")
        asked.success(explain(answers.timeline), video, timeline, api_visibility="private")
        frames.select(attend, video, attention, api_visibility="private")
        chosen.input(explain(answers.evidence), [video, chosen], evidence, api_visibility="private")
    return page


def serve(page: Any, host: str, port: int) -> str:
    """Serves the page in threads of this process, without a public link.

    Args:
        page: The result of :func:`build_page`.
        host: The address to listen on.
        port: The port.

    Returns:
        The page's address.

    Raises:
        OSError: The port is taken.
    """
    import gradio

    own, mono = _FONTS
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        ssr_mode=False,
        footer_links=[],
        theme=gradio.themes.Default(font=list(own), font_mono=list(mono)),
    )
    return str(address)
