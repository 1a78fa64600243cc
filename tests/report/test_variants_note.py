"""What the page says of the camera penalty holds only where VeRi's rule does."""

from mtn_core.metrics.protocol import EvaluationProtocol
from mtn_core.report.sources import load_run
from mtn_core.report.variants import make_variants_section


def test_the_word_on_the_camera_penalty_follows_the_rule(run_dir):
    run = load_run(run_dir)
    (section,) = make_variants_section([run])
    assert "a camera penalty can only help" in section.note
    run.result.__dict__["rule"] = EvaluationProtocol(ignored="same_image")
    (section,) = make_variants_section([run])
    assert "camera penalty" not in section.note and "another protocol" in section.note
