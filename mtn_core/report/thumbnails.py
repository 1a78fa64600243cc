"""Small pictures of a page, each stored once as a CSS class and shown as often as needed."""

import base64
import hashlib

from markupsafe import Markup

from mtn_core.viz.crops import CropSource, draw_placeholder, encode_jpeg

PLACEHOLDER_CLASS = "t0"
MAX_LARGE_BYTES = 1_000_000
_LARGE_SIDE = 400  # pixels; most crops of traffic cameras are smaller


class ThumbnailStore:
    """Pictures within a byte budget.

    Args:
        crops: Where crops are read.
        max_bytes: Size that all pictures may have in the page; later ones are refused.
        max_side: Longer side in pixels.
        quality: JPEG quality.
        max_large_bytes: Size that the larger copies of :meth:`add_large` may have; they never take
            more than the small pictures do.

    Attributes:
        num_bytes: Size in the page so far.
        large: Larger copies as base64, by CSS class.
        has_pictures: Whether anybody knows where crops lie; otherwise pages show names.
    """

    def __init__(
        self,
        crops: CropSource,
        *,
        max_bytes: int = 5_500_000,
        max_side: int = 112,
        quality: int = 70,
        max_large_bytes: int = MAX_LARGE_BYTES,
    ):
        self.crops = crops
        self.max_bytes = max_bytes
        self.max_side = max_side
        self.quality = quality
        self.num_bytes = 0
        self.large: dict[str, str] = {}
        self.max_large_bytes = max_large_bytes
        self._num_large_bytes = 0
        self.has_pictures = bool(crops.roots)
        self._class_of: dict[tuple[str, str], str] = {}
        self._class_of_content: dict[str, str] = {}
        self._rules: list[str] = []
        self._add(encode_jpeg(draw_placeholder(), quality))

    def add(self, split: str, name: str) -> str | None:
        """The CSS class of a crop's picture; None when the budget has no room for it.

        A crop that cannot be read has the class of the placeholder.
        """
        key = (split, name)
        if key not in self._class_of:
            crop = self.crops.read_jpeg(split, name, max_side=self.max_side, quality=self.quality)
            if key in self.crops.missing:
                self._class_of[key] = PLACEHOLDER_CLASS
                return PLACEHOLDER_CLASS
            known = self._class_of_content.get(hashlib.sha256(crop).hexdigest())
            if known is None and self.num_bytes + len(crop) * 4 // 3 + 60 > self.max_bytes:
                return None
            self._class_of[key] = known or self._add(crop)
        return self._class_of[key]

    def known(self, split: str, name: str) -> str | None:
        """The CSS class of a crop that was added before; None for any other."""
        return self._class_of.get((split, name))

    def add_large(self, split: str, name: str) -> None:
        """Keep a larger copy of a crop that was added before, while there is room for it."""
        key = self.known(split, name)
        room = min(self.max_large_bytes, self.num_bytes) - self._num_large_bytes
        if key is None or key == PLACEHOLDER_CLASS or key in self.large or room <= 0:
            return
        jpeg = self.crops.read_jpeg(split, name, max_side=_LARGE_SIDE, quality=self.quality)
        data = base64.b64encode(jpeg).decode("ascii")
        if len(data) <= room:
            self.large[key] = data
            self._num_large_bytes += len(data)

    def add_picture(self, jpeg: bytes) -> str:
        """The CSS class of a picture that is no crop of the data set, whatever the budget."""
        return self._class_of_content.get(hashlib.sha256(jpeg).hexdigest()) or self._add(jpeg)

    def is_full_for(self, keys: list[tuple[str, str]]) -> bool:
        """Whether any of these crops finds no room; those that do are added."""
        return any(self.add(*key) is None for key in keys)

    def to_css(self) -> Markup:
        """The style rules of all pictures; base64 has no character that could end the style."""
        return Markup("\n".join(self._rules))

    def _add(self, jpeg: bytes) -> str:
        name = f"t{len(self._rules)}"
        data = base64.b64encode(jpeg).decode("ascii")
        rule = f".{name}{{background-image:url(data:image/jpeg;base64,{data})}}"
        self._rules.append(rule)
        self.num_bytes += len(rule) + 1
        self._class_of_content[hashlib.sha256(jpeg).hexdigest()] = name
        return name
