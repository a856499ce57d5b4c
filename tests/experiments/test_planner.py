"""Order of tasks: what waits for what, what is like what, what still fits, and for how long."""

from dataclasses import replace

import pytest
from toy_cells import Toy

from gleak_lib.attacks import ATTACKS
from gleak_lib.experiments import AttackExperiment, Context, TrainingExperiment
from gleak_lib.experiments.runner.cost import Costs, Machine, Measured
from gleak_lib.experiments.runner.estimate import Estimate
from gleak_lib.experiments.runner.planner import Queue, Task, plan
from gleak_lib.experiments.specs.fields import duration
from gleak_lib.experiments.specs.trained_weights import path_of
from gleak_lib.federated import Protocol

IG = ATTACKS["ig"].replace(max_steps=10)
PROTOCOL = Protocol(rounds=5, patience=None)
TRAININGS = [TrainingExperiment("digits", protocol=PROTOCOL, seed=seed) for seed in range(3)]


def on(training, rounds=5, victims=2):
    return AttackExperiment(training, rounds=rounds, attack=IG, victims=victims)


@pytest.fixture
def context(tmp_path):
    return Context(tmp_path)


def order(queue, last=None):
    """The experiments that one worker takes one after the other."""
    found = []
    while (last := queue.take(last)) is not None:
        found += last.experiments
        assert queue.ended(last) == []
    return found


def test_cells_wait_for_their_own_training(context):
    one, two = on(TRAININGS[0]), on(TRAININGS[1])
    queue = Queue(plan([one, two, TRAININGS[1]], context), parallel=True)
    first, second = queue.take(), queue.take()
    assert {first.experiments[0], second.experiments[0]} == {TRAININGS[0].at(5), TRAININGS[1]}
    assert queue.take() is None  # both trainings run
    assert queue.ended(second) == []
    other = {TRAININGS[0].at(5): one, TRAININGS[1]: two}
    assert queue.take(second).experiments == (other[second.experiments[0]],)  # the other training runs still
    assert queue.take(second) is None
    queue.ended(first)
    assert queue.take(first).experiments == (other[first.experiments[0]],)


def test_one_training_keeps_the_weights_of_all_rounds(context):
    cells = [on(TRAININGS[0], 2), on(TRAININGS[0], 4), on(TRAININGS[0], 0)]
    (training, *others) = plan(cells, context)
    (made,) = training.experiments
    assert made == TRAININGS[0].at(4) and made.keep == (2, 4)
    assert [task.depends_on for task in others] == [made, made, None]
    path_of(TRAININGS[0].at(4), context).write_bytes(b"weights")  # only those after two rounds are lacking
    (training, *others) = plan(cells, context)
    assert training.experiments == (TRAININGS[0].at(2),)
    assert [task.depends_on for task in others] == [training.experiments[0], None, None]


def test_a_training_asked_for_keeps_what_others_need(context):
    tasks = plan([on(TRAININGS[0], 2), TRAININGS[0]], context)
    assert [task.experiments for task in tasks] == [(TRAININGS[0],), (on(TRAININGS[0], 2),)]
    assert tasks[0].experiments[0].keep == (2,) and tasks[1].depends_on == TRAININGS[0]


def test_one_worker_stays_with_the_weights_it_has(context):
    attacks = [on(TRAININGS[n], victims=v) for v in (1, 2) for n in (0, 1)]
    found = order(Queue(plan(attacks, context)))
    expected = [TRAININGS[0].at(5), attacks[0], attacks[2], TRAININGS[1].at(5), attacks[1], attacks[3]]
    assert found == expected


def test_without_trainings_cells_come_as_asked(context):
    cells = [Toy(float(n)) for n in (3, 1, 2)]
    assert order(Queue(plan(cells, context))) == cells


def costs(**seconds):
    """Trainings cost a second a round; attacks a second a victim and step."""
    images = {"digits": 1}
    known = [TrainingExperiment("digits", protocol=Protocol(rounds=1)), on(TRAININGS[0], 0, 1)]
    machine = Machine("this", 1)
    each = [1.0, IG.schedule.max_steps]
    measured = [Measured(c.work(images), machine, s) for c, s in zip(known, each, strict=True)]
    return Costs(measured, machine, images)


def test_several_workers_begin_with_the_longest_path(context):
    long = TrainingExperiment("digits", protocol=Protocol(rounds=90, patience=None))
    cells = [on(TRAININGS[0], 0, 6), on(TRAININGS[0], 0, 20), on(TRAININGS[1], 5, 1), on(long, 90, 10)]
    tasks = plan(cells, context, costs())
    by_cell = {task.experiments[0]: task for task in tasks}
    assert by_cell[long.at(90)].seconds == pytest.approx(90)
    assert by_cell[long.at(90)].critical_path == pytest.approx(90 + 100)
    assert by_cell[TRAININGS[1].at(5)].critical_path == pytest.approx(5 + 10)
    queue = Queue(tasks, parallel=True)
    begun = [queue.take().experiments[0] for _ in range(4)]
    assert begun == [long.at(90), TRAININGS[1].at(5), cells[1], cells[0]]


def test_a_free_worker_gets_what_is_like_its_last(context):
    tasks = plan([on(TRAININGS[0], 0, 9), on(TRAININGS[1], 5, 1), on(TRAININGS[1], 5, 2)], context, costs())
    queue = Queue(tasks, parallel=True)
    training = queue.take()
    queue.ended(training)
    assert queue.take(training).experiments == (on(TRAININGS[1], 5, 2),)  # shorter, but on the same weights


def test_what_does_not_fit_is_not_begun(context):
    cells = [on(TRAININGS[0], 0, 6), on(TRAININGS[0], 0, 2), Toy(1.0)]
    queue = Queue(plan(cells, context, costs()))
    assert queue.take(None, 59.0).experiments == (cells[1],)
    assert queue.take(None, 10.0).experiments == (Toy(1.0),)  # nobody knows: it is tried
    assert queue.take(None, 59.0) is None and queue.take(None, 0.0) is None
    assert [task.experiments for task in queue.left] == [(cells[0],)]


def test_what_waits_for_a_failed_training_fails_with_it(context):
    cells = [on(TRAININGS[0], 5, 1), on(TRAININGS[1], 5, 1)]
    queue = Queue(plan(cells, context))
    training = queue.take()
    assert [task.experiments for task in queue.ended(training, failed=True)] == [(cells[0],)]
    assert order(queue) == [TRAININGS[1].at(5), cells[1]]


def test_a_group_is_released_as_a_whole():
    group = Task(tuple(TRAININGS), affinity=(None, None, None))
    waiting = [Task((on(t),), depends_on=t, affinity=(None, None, None)) for t in TRAININGS]
    queue = Queue([group, *waiting], parallel=True)
    assert queue.take() == group and queue.take() is None
    queue.ended(group)
    assert order(queue) == [on(t) for t in TRAININGS]


def test_a_gpu_trains_seeds_side_by_side(tmp_path):
    other = TrainingExperiment("digits", "mlp", protocol=PROTOCOL)
    asked = [*TRAININGS, other, on(TRAININGS[1], 2)]
    tasks = plan(asked, Context(tmp_path, device="cuda"))
    assert [task.experiments for task in tasks[:2]] == [tuple(TRAININGS), (other,)]
    assert tasks[0].experiments[1].keep == (2,) and tasks[2].depends_on == TRAININGS[1]
    assert [len(task.experiments) for task in plan(asked, Context(tmp_path))] == [1] * 5


def test_an_estimate_adds_up(context):
    machine = Machine("this", 1)
    cells = [on(TRAININGS[0], 0, 6), on(TRAININGS[1], 5, 12)]  # 60 s; 5 s and then 120 s
    tasks = plan(cells, context, costs())
    assert Estimate(tasks, machine).seconds == pytest.approx(185)
    assert Estimate(tasks, machine, 2).seconds == pytest.approx(125)  # the chain; not half of 185
    assert str(Estimate(tasks, machine)) == "about 3 min on this (1 thread)"
    assert (
        str(Estimate(tasks, replace_threads(machine), 2)) == "about 2 min with 2 workers on this (4 threads)"
    )
    tasks = plan([*cells, Toy(1.0)], context, costs())
    expected = "at least 3 min on this (1 thread), and no estimate for 1 of 4 experiments"
    assert str(Estimate(tasks, machine)) == expected
    assert str(Estimate(plan([Toy(1.0)], context, costs()), machine)).startswith("no estimate on this")
    assert str(Estimate(tasks, None)).startswith("no estimate")
    assert str(Estimate([], machine)) == "nothing to compute"


def replace_threads(machine):
    return machine._replace(threads=4)


def test_an_estimate_lists_the_tasks_in_their_order(context):
    tasks = plan([on(TRAININGS[0], 5, 12)], context, costs())
    training, attack = Estimate(tasks, Machine("this", 1)).lines()
    assert training.split()[:3] == ["5", "s", "training"] and attack.split()[:3] == ["2", "min", "attack"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (42.4, "42 s"),
        (90, "2 min"),
        (3600, "1 h"),
        (5400, "1 h 30 min"),
        (40_000, "11 h"),
        (260_000, "3 days"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_keep_changes_no_task(context):
    kept = replace(TRAININGS[0], keep=(1,))
    assert plan([kept], context)[0].experiments == (TRAININGS[0],)
