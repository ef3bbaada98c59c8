"""The help of the commands that train and evaluate: the common options, instead of all 120."""

from videonl.cli.commands import TRAINER_COMMANDS

EVERYTHING = frozenset({"--help=all", "--help_all"})
_FORMS = {
    "fit": "videonl fit --config FILE [--config FILE ...] [options]",
    "validate": "videonl validate --config RUN/config.yaml [options]",
    "test": "videonl test --config RUN/config.yaml [options]",
    "predict": "videonl predict SOURCE... --checkpoint CKPT [options]\n"
    "       videonl predict --config RUN/config.yaml [options]",
}
_VIDEO = {
    "SOURCE...": "files, folders, lists, patterns; options of this form:",
    "--checkpoint FILE": "a checkpoint, run, shared folder, weights, published name",
    "--out FILE": "write .csv, .json or .parquet; resumes when interrupted",
    "--num_clips N, --num_crops N": "views whose scores are averaged (10 x 3)",
    "--top N": "how many classes to print (5)",
    "--classes FILE": "names of the classes, where the checkpoint has none",
    "--trust_code": "let the checkpoint name any code as its backbone",
}
_COMMON = {
    "-c, --config FILE": "such as experiment/folders.yaml; later files override",
    "--run.dir DIR": "folder of the run (runs/ and the experiment's path)",
    "--ckpt_path FILE": "best, last, or a file",
    "--print_config": "print the resulting configuration and exit",
}
_DATA = {
    "--data.root DIR": "base folder of relative sources and lists",
    "--data.train, --data.val, --data.test SOURCE": "class folders, a list, an index, or LIST.csv#SPLIT",
    "--data.clip.num_frames N, --data.clip.stride_frames N": "the clip that the network sees (8, 8)",
    "--data.clip.short_side_px N, --data.clip.crop_px N": "its size (256, 224)",
    "--data.multigrid.cycle_ends LIST": "train on more and smaller clips at first: docs/training.md",
    "--data.loading.batch_size N": "clips per batch, in each process (8)",
    "--data.loading.num_workers N": "processes that decode (2)",
}
_TRAINING = {
    "--model.network.init_args.backbone NAME": "videonl models lists them",
    "--model.network.init_args.blocks LIST": "such as '[{block: nonlocal, after: {res4: [1, 3]}}]'",
    "--model.weights NAME": "initial weights: kinetics400/i3d_r50, or a file",
    "--model.optimization.lr X": "peak learning rate (0.01)",
    "--model.optimization.optimizer NAME": "sgd or adamw",
    "--model.optimization.schedule NAME": "cosine, step or constant",
    "--model.label_smoothing X": "fraction of each label spread over all classes (0)",
    "--trainer.max_epochs N": "number of epochs",
    "--trainer.precision P": "32-true, bf16-mixed, 16-mixed",
    "--trainer.devices N, --trainer.strategy S": "number of GPUs, and ddp for several",
    "--seed_everything N": "random seed (0)",
    "--run.overwrite true": "start from scratch in a folder that holds a run",
    "--run.wandb MODE": "online, offline or off: Weights & Biases (off)",
    "--run.tensorboard true": "log for TensorBoard too",
}
_EVALUATION = {
    "--data.test_views.num_clips N, --data.test_views.num_crops N": "views whose scores are averaged (10, 3)",
    "--model.average NAME": "what is averaged: softmax or logits",
}


def short_help(command: str) -> str:
    """What ``videonl COMMAND --help`` prints.

    Args:
        command: One of ``TRAINER_COMMANDS``.
    """
    parts = {
        "videos": _VIDEO if command == "predict" else {},
        "run": _COMMON,
        "data": _DATA,
        "training": _TRAINING if command == "fit" else {},
        "evaluation": _EVALUATION if command in ("test", "predict") else {},
    }
    lines = [f"usage: {_FORMS[command]}", "", f"{TRAINER_COMMANDS[command]}.", ""]
    for title, options in parts.items():
        if options:
            lines += [f"{title}:", *(line for option in options.items() for line in _lines(*option)), ""]
    return "\n".join([*lines, f"videonl {command} --help=all lists every option; docs/training.md explains them."])


def _lines(option: str, text: str) -> list[str]:
    return [f"  {option:<38} {text}"] if len(option) <= 38 else [f"  {option}", f"{'':41}{text}"]
