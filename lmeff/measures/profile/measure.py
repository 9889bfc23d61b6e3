"""`results/REVISION/profile/DEVICE-PRECISION.json`: what a model costs."""

from collections.abc import Callable
from pathlib import Path

from lmeff.evaluation.results import weights_sha256
from lmeff.files import write_json
from lmeff.formats.result import find_result
from lmeff.formats.run_folder import RunFolder
from lmeff.hub.remote import is_remote
from lmeff.measures.measure import Measure, Say
from lmeff.measures.profile.profile import ProfileSettings, profile_model
from lmeff.measures.selection import SelectedModel, Selection
from lmeff.models.device import choose_device
from lmeff.recipe.sections.evaluation import Evaluation


def models_to_profile(selection: Selection) -> dict[SelectedModel, str]:
    """The models, and what each is called in a table of all. A run stands for its newest revision unless the selection says
    otherwise, since all of them cost the same."""
    names: dict[SelectedModel, str] = {}
    for what, models in selection.by_what().items():
        is_run = not is_remote(what) and RunFolder(Path(what)).has_revisions
        shown = models[-1:] if is_run and not (selection.revisions or selection.every) else models
        names |= {model: what if len(shown) == 1 else f"{what} {model.name}" for model in shown}
    return names


class Profile(Measure):
    """Latency, throughput, generation speed, peak memory, parameters and FLOPs. What it was before is not taken again, since
    times are those of the machine as it is now."""

    kind = "profile"
    not_measured = "it was not profiled"

    def __init__(
        self,
        settings: ProfileSettings,
        name_of: Callable[[SelectedModel], str],
        say_begun: Say = lambda line: None,
        reuse: bool = False,
    ) -> None:
        """
        Args:
            name_of: what a model is called.
            say_begun: takes a line for each model when it begins, since it takes long.
            reuse: take a profile of the same weights and settings that is there.
        """
        self._settings, self._name_of, self._say_begun, self._reuse = settings, name_of, say_begun, reuse
        self._device = choose_device(settings.device)

    @classmethod
    def of_run(cls, section: Evaluation, run: RunFolder, check: Callable[[], None]) -> "Profile":
        return cls(ProfileSettings(), lambda model: str(run), reuse=True)

    def measure(self, model: SelectedModel, folder: Path, say: Say) -> dict:
        if self._reuse and (known := self.known(model, folder)):
            return known
        self._say_begun(f"{self._name_of(model)}: measuring on {self._device.type} ...")
        profile = {"name": self._name_of(model), "kind": self.kind, **profile_model(folder, self._settings)}
        write_json(self._path(model), profile)
        return profile

    def known(self, model: SelectedModel, folder: Path) -> dict | None:
        """A profile of the same weights and settings that is there."""
        known = find_result(self._path(model))
        same = known.get("weights_sha256") == weights_sha256(folder)
        return known if same and known.get("settings") == self._settings.as_json() else None

    def _path(self, model: SelectedModel) -> Path:
        return model.output / "profile" / f"{self._device.type}-{self._settings.precision}.json"
