"""What the page asks: candidates for crops, the frames around one, a picture, what there is."""

import dataclasses
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from mtn_core.errors import DataError, MissingFileError
from mtn_core.gallery.embedder import Embedder
from mtn_core.gallery.find import find_in_store
from mtn_core.gallery.query import query_of_pixels
from mtn_core.gallery.records import Filter, Sighting
from mtn_core.gallery.store import Gallery
from mtn_core.results.threshold import Threshold
from mtn_core.serve.uploads import Upload, UploadDecoder
from mtn_core.viz.crops import encode_jpeg, read_crop_strictly

MOST_CANDIDATES = 200
_AROUND = 6  # frames before and after
_MOST_ROWS = 2000  # that are looked at for them
_FRESH = 30.0  # seconds that counts of cameras are shown without looking again
_ID_DIGITS = 16


class UnknownSightingError(MissingFileError):
    """The gallery has no such sighting, or no picture of it."""


class SearchService:
    """A gallery with its model, shared by all requests.

    Args:
        gallery: That is searched.
        embedder: Of the gallery's model.
        decoder: Of uploads.
        threshold: Cuts candidates; by default the gallery's own, where it has one.
    """

    def __init__(
        self,
        gallery: Gallery,
        embedder: Embedder,
        decoder: UploadDecoder,
        threshold: Threshold | None = None,
    ):
        self.gallery, self.embedder, self.decoder = gallery, embedder, decoder
        self.threshold = threshold
        self._busy = threading.Lock()  # one crop after the other has all processors
        self._overview: tuple[float, dict[str, Any]] | None = None

    def describe(self) -> dict[str, Any]:
        """What can be filtered by: name, count, cameras, first and last time, colours, types."""
        now = time.monotonic()
        if self._overview is None or now - self._overview[0] > _FRESH:
            info = self.gallery.info
            cameras, (first, last) = self.gallery.backend.overview()
            values = {
                "name": self.gallery.path.resolve().name,
                "count": info.count,
                "cameras": [
                    {"name": name, "count": cameras[name]}
                    for name in sorted(filter(None, cameras), key=_camera_order)
                ],
                "first": None if first is None else first.isoformat(),
                "last": None if last is None else last.isoformat(),
                "colors": list(info.color_names),
                "types": list(info.type_names),
                "model": info.model_name,
                "crops": self.decoder.limits.crops,
                "bytes": self.decoder.limits.bytes,
            }
            self._overview = now, values
        return self._overview[1]

    def search(
        self,
        uploads: Sequence[Upload],
        which: Filter,
        *,
        camera: str | None = None,
        same_camera: bool = False,
        top: int = 40,
    ) -> dict[str, Any]:
        """Candidates for the crops of one track.

        Args:
            uploads: At least one.
            which: What is compared.
            camera: That took them; None if not known.
            same_camera: Keep sightings of that camera.
            top: Candidates wanted.
        """
        with self._busy:
            query = query_of_pixels(
                self.embedder,
                [upload.image for upload in uploads],
                [upload.name for upload in uploads],
                [upload.sha256 for upload in uploads],
            ).taken_by([camera])
        result = find_in_store(
            self.gallery,
            query,
            which,
            top=min(top, MOST_CANDIDATES),
            same_camera=same_camera,
            threshold=self.threshold,
        )
        answer = result.to_json_dict()
        del answer["run"], answer["image"]  # where files lie is nobody's business
        answer["said"] = result.asked.describe()
        answer["none_likely"] = result.none_likely
        answer["cut"] = None if result.threshold is None else result.threshold.describe()
        return answer

    def around(self, sighting_id: str) -> dict[str, Any]:
        """The frames of the same track, and those before and after at the same camera.

        Raises:
            UnknownSightingError: No such sighting.
        """
        sighting = self._find(sighting_id)
        track: list[Sighting] = []
        if sighting.track:
            cameras = (sighting.camera,) if sighting.camera else ()
            which = Filter(camera=cameras, track=(sighting.track,))
            track = self.gallery.sightings(which, _MOST_ROWS)
        return {
            "sighting": _plain(sighting),
            "track": [_plain(one) for one in _nearest_in_time(track, sighting, 2 * _AROUND)],
            "camera": [_plain(one) for one in self._neighbours(sighting)],
        }

    def picture(self, sighting_id: str, side: int) -> bytes:
        """A sighting's crop as a JPEG.

        Args:
            sighting_id: As searches give it.
            side: Most pixels of its longer side.

        Raises:
            UnknownSightingError: No such sighting, or its file is gone or no image.
        """
        sighting = self._find(sighting_id)
        try:
            return encode_jpeg(read_crop_strictly(self.gallery.image_path(sighting), side))
        except (DataError, OSError) as error:
            raise UnknownSightingError(
                f"the picture of sighting {sighting_id} cannot be read"
            ) from error

    def _find(self, sighting_id: str) -> Sighting:
        known = len(sighting_id) == _ID_DIGITS and not set(sighting_id) - set("0123456789abcdef")
        found = self.gallery.sightings([sighting_id], 1) if known else []
        if not found:
            raise UnknownSightingError("the gallery has no such sighting")
        return found[0]

    def _neighbours(self, sighting: Sighting) -> list[Sighting]:
        """Those of its camera that are nearest in time, in the order of time."""
        if sighting.time is None or not sighting.camera:
            return []
        reach = timedelta(seconds=30)
        while True:
            which = Filter(
                camera=(sighting.camera,),
                after=sighting.time - reach,
                before=sighting.time + reach,
            )
            count = self.gallery.count(which)
            if count > 2 * _AROUND or reach > timedelta(days=30):
                break
            reach *= 4
        while count > _MOST_ROWS and reach > timedelta(milliseconds=1):
            reach /= 2
            which = dataclasses.replace(
                which, after=sighting.time - reach, before=sighting.time + reach
            )
            count = self.gallery.count(which)
        return _nearest_in_time(self.gallery.sightings(which, _MOST_ROWS), sighting, 2 * _AROUND)


def _nearest_in_time(sightings: Sequence[Sighting], middle: Sighting, count: int) -> list[Sighting]:
    """The ``count`` nearest, and the middle itself, in the order of time."""

    def away(one: Sighting) -> tuple:
        if one.time is None or middle.time is None:
            return 1, 0.0, one.name
        return 0, abs((one.time - middle.time).total_seconds()), one.name

    others = sorted((one for one in sightings if one.id != middle.id), key=away)[:count]
    chosen = [*others, middle]
    return sorted(chosen, key=lambda s: (s.time is None, s.time or 0, s.name))


def _plain(sighting: Sighting) -> dict[str, Any]:
    values = dataclasses.asdict(sighting)
    del values["image_sha256"], values["distance"]
    values["time"] = None if sighting.time is None else sighting.time.isoformat()
    return values


def _camera_order(name: str) -> tuple:
    return (0, int(name), name) if name.isascii() and name.isdigit() else (1, 0, name)
