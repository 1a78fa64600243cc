"""The vehicles, their keypoints, the cameras and the painter."""

from dataclasses import replace

import numpy as np
import pytest

from mtn_core.synthveri.assembly import create_vehicle
from mtn_core.synthveri.bodywork import create_body, create_keypoints
from mtn_core.synthveri.cameras import NUM_CAMERAS, View, create_cameras
from mtn_core.synthveri.fleet import create_fleet
from mtn_core.synthveri.ground import Window, scenery
from mtn_core.synthveri.light import expose
from mtn_core.synthveri.mesh import Material, Mesh
from mtn_core.synthveri.parts import NUM_PARTS
from mtn_core.synthveri.photo import take_photo
from mtn_core.synthveri.plan import SIZES, create_shots
from mtn_core.synthveri.render import paint_vehicle
from mtn_core.synthveri.shapes import BUS, TRUCK
from mtn_core.synthveri.visibility import keypoint_confidence, keypoint_visibility
from mtn_core.vehicle import SEGMENT_KEYPOINTS

# Median side profile of VeRi's annotations, wheelbases: along and up from the rear wheel's centre.
PROFILE = np.array(
    [
        (0, 0), (1, 0), (1.15, -0.02), (1.11, 0.10), (0.89, 0.09), (0.85, -0.03), (0.15, -0.02),
        (0.10, 0.09), (-0.10, 0.11), (-0.15, 0), (-0.26, 0.04), (-0.24, 0.28), (-0.14, 0.34),
        (0.06, 0.49), (0.62, 0.48), (0.88, 0.28), (1.21, 0.20), (1.22, 0.01),
    ]
)  # fmt: skip


@pytest.fixture(scope="module")
def fleet():
    return create_fleet(120, seed=0)


@pytest.fixture(scope="module")
def one_of_each(fleet):
    found = {}
    for individual in fleet:
        found.setdefault(individual.type_id, individual)
    return {type_id: create_vehicle(found[type_id]) for type_id in sorted(found)}


def view_from(azimuth, vehicle, pitch=22):
    """A camera 12 m away in the direction ``azimuth`` (degrees; 0 is ahead, 90 the left)."""
    camera = replace(create_cameras(0)[0], pitch=np.deg2rad(pitch), height=6.0)
    # The camera looks along +y, so it stands at -y of the vehicle.
    heading = np.deg2rad(-90 - azimuth)
    place = np.array([0.0, camera.look_at])
    place -= vehicle.middle * np.array([np.cos(heading), np.sin(heading)])
    return View(camera, (place[0], place[1]), heading)


def test_all_nine_types_are_built(one_of_each):
    assert list(one_of_each) == list(range(1, 10))
    for vehicle in one_of_each.values():
        assert vehicle.keypoints.shape == (36, 3)
        for faces in vehicle.faces:
            assert np.isfinite(faces.corners).all()
            np.testing.assert_allclose(np.linalg.norm(faces.normals, axis=1), 1, atol=1e-6)


def test_profiles_follow_the_median_of_the_annotations(fleet):
    profiles = []
    for individual in fleet:
        shape = individual.model.shape
        if shape.type_id in (BUS, TRUCK):
            continue
        left = create_keypoints(create_body(shape))[:18, [0, 2]]
        profiles.append((left - [0, shape.wheel_radius]) / shape.wheelbase)
    assert np.abs(np.median(profiles, axis=0) - PROFILE).max() < 0.06


def test_left_is_the_drivers_left_and_16_17_are_the_front(one_of_each):
    for vehicle in one_of_each.values():
        left, right = vehicle.keypoints[:18], vehicle.keypoints[18:]
        np.testing.assert_allclose(left * [1, -1, 1], right)
        assert (left[:, 1] > 0).all()  # y is to the left, x is forward
        assert left[16, 0] > left[1, 0] > left[0, 0] > left[10, 0]
        assert left[17, 0] > left[2, 0]


def test_keypoints_lie_on_the_body(fleet):
    for individual in fleet[:30]:
        shape = individual.model.shape
        if shape.type_id == TRUCK:
            continue
        body = create_body(shape)
        keypoints = create_keypoints(body)
        for k in (2, 3, 7, 8):
            x, y, z = keypoints[k]
            assert y == pytest.approx(body.tub.side([(x, z)])[0, 1])
        for k in (12, 13, 14, 15):
            nearest = np.linalg.norm(body.cabin.left - keypoints[k], axis=2).min()
            assert nearest < 1e-9


def test_seen_side_is_sure_and_far_side_is_not(one_of_each):
    rng = np.random.default_rng(0)
    for vehicle in one_of_each.values():
        for azimuth, seen, far in (
            (90, slice(0, 18), slice(18, 36)),
            (270, slice(18, 36), slice(0, 18)),
        ):
            view = view_from(azimuth, vehicle)
            visible = keypoint_visibility(vehicle.keypoints, vehicle.solid, view)
            confidence = keypoint_confidence(visible, np.zeros(36), np.ones(36, bool), rng)
            assert confidence[seen].mean() > 0.8
            low = confidence[far][:11]  # wheels, arches and the rear lower corner
            assert low.max() < 0.5
            assert low.min() > 0.05


def test_from_ahead_the_front_segment_is_usable_and_the_rear_is_not(one_of_each):
    for type_id, vehicle in one_of_each.items():
        for azimuth, shown, hidden in ((0, 12, [10, 28]), (180, 6, [17, 35])):
            view = view_from(azimuth, vehicle)
            visible = keypoint_visibility(vehicle.keypoints, vehicle.solid, view)
            assert visible[SEGMENT_KEYPOINTS[shown]].min() > 0.9, (type_id, azimuth)
            # Upper corners of the far end may show over a bonnet or a bed, lower ones may not.
            assert visible[hidden].max() < 0.5, (type_id, azimuth)


def test_what_stands_in_front_and_what_is_cut_off_lowers_confidence():
    free = keypoint_confidence(
        np.ones(36), np.zeros(36), np.ones(36, bool), np.random.default_rng(1)
    )
    covered = keypoint_confidence(
        np.ones(36), np.ones(36), np.ones(36, bool), np.random.default_rng(1)
    )
    cut = keypoint_confidence(
        np.ones(36), np.zeros(36), np.zeros(36, bool), np.random.default_rng(1)
    )
    assert free.min() > 0.8
    assert covered.max() < 0.6
    assert not cut.any()


def test_projected_keypoints_lie_within_the_painted_vehicle(one_of_each):
    """White vehicle on black ground: every visible keypoint is at or beside a painted pixel."""
    for vehicle in one_of_each.values():
        for azimuth in (20, 110, 200, 290):
            view = view_from(azimuth, vehicle)
            pixels, _ = view.project(vehicle.outline)
            low, high = pixels.min(axis=0) - 10, pixels.max(axis=0) + 10
            width, height = np.ceil(high - low).astype(int)
            window = Window(low[0], low[1], (1.0, 1.0), int(width), int(height))
            canvas = np.zeros((height, width, 3), np.uint8)
            glowing = [
                replace(f, optics=np.tile([0, 0, 0, 0, 0, 9.0, 9, 9], (len(f.optics), 1)))
                for f in vehicle.faces
            ]
            paint_vehicle(canvas, glowing, vehicle.ranks(view.eye), view, window=window, gain=1.0)
            visible = keypoint_visibility(vehicle.keypoints, vehicle.solid, view) > 0.9
            points = window.place(view.project(vehicle.keypoints)[0])[visible]
            painted = np.argwhere(canvas[..., 0] > 100)[:, ::-1] + 0.5
            away = np.linalg.norm(points[:, None] - painted[None], axis=2).min(axis=1)
            assert away.max() < 6.0


def test_twin_vehicles_share_model_and_paint_but_not_marks(fleet):
    groups = {}
    for individual in fleet:
        key = (individual.type_id, individual.model.index, individual.color_id, individual.shade)
        groups.setdefault(key, []).append(individual)
    twins = [group for group in groups.values() if len(group) > 1]
    assert sum(map(len, twins)) >= 0.2 * len(fleet)
    for group in twins:
        assert len({repr(one.marks) for one in group}) == len(group)
        assert len({one.paint for one in group}) == 1
        assert len({id(one.model) for one in group}) == 1


def test_every_camera_is_fixed_and_they_differ():
    cameras = create_cameras(0)
    assert cameras == create_cameras(0)
    assert cameras != create_cameras(1)
    assert [camera.camid for camera in cameras] == list(range(1, NUM_CAMERAS + 1))
    pitches = np.rad2deg([camera.pitch for camera in cameras])
    assert pitches.min() >= 15
    assert pitches.max() <= 40
    directions = np.sort(np.mod([camera.road for camera in cameras], 2 * np.pi))
    gaps = np.diff(np.append(directions, directions[0] + 2 * np.pi))
    assert np.rad2deg(gaps.max()) < 60  # all round the car


def test_one_grey_looks_bright_at_one_camera_and_dark_at_another():
    levels = [expose(np.full(3, 0.2), camera, 1.0).mean() for camera in create_cameras(0)]
    assert max(levels) - min(levels) > 60


def test_projection_agrees_with_a_pinhole_by_hand():
    camera = replace(create_cameras(0)[0], height=5.0, pitch=np.deg2rad(30), focal=1000.0)
    view = View(camera, (0.0, camera.look_at), 0.0)
    pixel, depth = view.project(np.zeros(3))
    np.testing.assert_allclose(pixel, (640, 360), atol=1e-9)  # where the camera looks
    assert depth == pytest.approx(10.0)
    right, _ = view.project(np.array([0.5, 0.0, 0.0]))  # heading 0 is to the camera's right
    np.testing.assert_allclose(right, (640 + 1000 * 0.5 / 10, 360), atol=1e-9)


def test_the_near_face_is_painted_over_the_far_one():
    camera = replace(create_cameras(0)[0], height=5.0, pitch=np.deg2rad(45), focal=1000.0)
    view = View(camera, (0.0, camera.look_at), 0.0)
    square = np.array([(-1.0, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)])
    mesh = Mesh()
    red, green = Material((0,) * 3, glow=(9, 0, 0)), Material((0,) * 3, glow=(0, 9, 0))
    mesh.add(0.4 * square + [0, 0, 1.0], red, 0)
    mesh.add(square, green, 0)
    mesh.add(np.add(square[::-1], [0, 0, 2.0]), green, 0)  # looks away
    canvas = np.zeros((400, 400, 3), np.uint8)
    window = Window(440, 160, (1.0, 1.0), 400, 400)
    paint_vehicle(canvas, mesh.finish(), np.zeros(NUM_PARTS), view, window=window, gain=1.0)
    x, y = window.place(view.project(np.array([0, 0, 1.0]))[0]).astype(int)
    assert canvas[y, x, 0] > 200 > canvas[y, x, 1]
    x, y = window.place(view.project(np.array([0.8, 0, 0.0]))[0]).astype(int)
    assert canvas[y, x, 1] > 200 > canvas[y, x, 0]


def test_the_road_stays_where_it_is():
    """Two crops that overlap show the same ground in the shared part."""
    camera = create_cameras(0)[3]
    one = scenery(camera, Window(600, 300, (1.0, 1.0), 120, 90))
    two = scenery(camera, Window(640, 330, (1.0, 1.0), 120, 90))
    np.testing.assert_allclose(one[30:, 40:], two[:60, :80], rtol=0.02, atol=0.01)


def test_a_photo_depends_on_its_shot_alone(fleet):
    cameras = create_cameras(0)
    shots = [s for s in create_shots(SIZES["smoke"], 0) if s.pid == 3][:4]
    vehicle = create_vehicle(fleet[2])
    first = [take_photo(vehicle, s, cameras[s.camid - 1], 0) for s in shots]
    again = [take_photo(vehicle, s, cameras[s.camid - 1], 0) for s in reversed(shots)][::-1]
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.keypoints, b.keypoints)
    assert len({photo.image.tobytes() for photo in first}) == len(first)
