"""What others have published on VeRi, to be read beside a run on the same images."""

from dataclasses import dataclass

from mtn_core.results import RetrievalResult

_VERI_COUNTS = 1678, 11579  # queries and gallery images of the official test split
_VERI_RULE = "VeRi"


@dataclass(frozen=True)
class PublishedResult:
    """Figures of one publication, as fractions.

    Attributes:
        name: Of the network.
        source: Where the figures stand.
        numbers: By the names of the headline table.
    """

    name: str
    source: str
    numbers: dict[str, float]


# None of these was run here.
PUBLISHED_ON_VERI = (
    PublishedResult(
        "PAMTRI", "Tang et al., ICCV 2019", {"mAP": 0.7188, "Rank-1": 0.9286}
    ),
    PublishedResult(
        "PAMTRI, first MindSpore port", "its document", {"mAP": 0.3101, "Rank-1": 0.5334}
    ),
    PublishedResult(
        "fast-reid, BoT (R50-ibn)",
        "MODEL_ZOO.md of JDAI-CV/fast-reid",
        {"mAP": 0.819, "Rank-1": 0.970, "mINP": 0.463},
    ),
    PublishedResult(
        "TransReID* (ViT)",
        "README.md of damo-cv/TransReID",
        {"mAP": 0.821, "Rank-1": 0.974},
    ),
)  # fmt: skip


def list_published(result: RetrievalResult) -> tuple[PublishedResult, ...]:
    """What was published on the images of a result, by their rule; empty for any data but VeRi's.

    VeRi's test split is known by its rule and its counts of queries and gallery images.
    """
    counts = result.num_query, result.num_gallery
    is_veri = counts == _VERI_COUNTS and result.rule.name == _VERI_RULE
    return PUBLISHED_ON_VERI if is_veri else ()
