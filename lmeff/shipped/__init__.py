"""The recipes, launcher configurations and Slurm templates that come with lmeff. Their only copy is at the top of the project:
the links here put them into a wheel, and an installation in place reads them where they are."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def shipped_names(kind: str) -> list[str]:
    """The YAML files of `recipes` or `launchers` by the names that commands take, such as `quickstart` or `base/llama`."""
    folder = FOLDER / kind
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob("**/*.yaml"))


def find_shipped(kind: str, name: str) -> Path | None:
    """The shipped file of that name, with or without `.yaml`; None when there is none."""
    name = name.removesuffix(".yaml")
    return (FOLDER / kind).resolve() / f"{name}.yaml" if name in shipped_names(kind) else None
