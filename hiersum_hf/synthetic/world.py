"""Make how-to videos up, before any feature.

This is the latent process behind the demo set and the controlled benchmark.

A video is a row of segments, each showing one concept (an action such as "slice the tomato") for some seconds:

| kind    | picture        | subtitle                | in the description | important | which level can tell       |
|---------|----------------|-------------------------|--------------------|-----------|----------------------------|
| told    | the step       | tells the step          | yes                | yes       | parent; child half (decoy) |
| silent  | the step       | none                    | yes                | yes       | parent                     |
| decoy   | another action | tells it as if a step   | no                 | no        | parent                     |
| aside   | another action | none                    | no                 | no        | parent                     |
| teaser  | a step         | chatter                 | yes                | no        | child                      |
| detour  | another action | chatter                 | no                 | no        | both                       |
| filler  | the presenter  | chatter                 | no                 | no        | both                       |

The description lists the steps. A told step and a decoy have the same wording: the subtitle alone cannot part them. A
teaser shows a listed step: the description alone falls for it. Only both levels together get all of it right. (Half
of the steps and half of the other actions come back with chatter: being shown twice tells nothing.) A `World` may have
spectacles, actions that are important in every video: whatever is said, a segment that shows one is a `spectacle`.

The worlds of `REGIMES` differ in who can tell. Outside "complementary" every action is shown twice, so that nothing
but the named cue tells. The most that can be known, as Kendall tau against the annotators of ideal readers who see the
picture and, beside it, the subtitle (child), the description (parent), both or nothing (400 videos of seed 0):

| regime        | important is                                 | child | parent | both | nothing |
|---------------|----------------------------------------------|-------|--------|------|---------|
| complementary | as in the demo, see above                    | .17   | .27    | .37  | .06     |
| shared        | what is told and listed; the rest is neither | .36   | .36    | .36  | 0       |
| local         | what is told; nothing is listed              | .36   | 0      | .36  | 0       |
| global        | what is listed, told or not                  | 0     | .37    | .37  | 0       |
| picture       | two spectacles, told or not; nothing listed  | .36   | .36    | .36  | .36     |

Twenty simulated annotators rate every segment 1 to 5. Two dials make them agree as on TVSum (pairwise tau .177, mean of
twenty .378): every regime has .175 to .182 and .374 to .380; the demo, with noise alone, .180 and .363. The regime of
few labels is a small training part of any world.

Everything follows from world, seed and index. Every dial of noise has random numbers of its own: turning one leaves
the rest of a video as it was, and more of it only adds to what less of it did.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cache

import numpy as np

from hiersum_hf.modeling.errors_hiersum import HierSumError
from hiersum_hf.records import Sentence


ACTIONS = (
    "slice the tomato",
    "boil the water",
    "sand the board",
    "drill a hole",
    "paint the fence",
    "knead the dough",
    "fold the paper",
    "solder the wire",
    "prune the rose",
    "tie the knot",
)
PRESENTERS = 2  # concepts after the actions: a person talking
NUM_CONCEPTS = len(ACTIONS) + PRESENTERS
NUM_VARIANTS = 6  # camera positions of each concept
TELLING = (
    "Now we {action}, and take your time.",
    "Next, {action} just like this.",
    "It is important that you {action} here.",
    "At this point you {action} carefully.",
    "Watch closely how I {action}.",
)
CHATTER = (
    "Thank you so much for all the comments.",
    "My dog ran through the garden this morning.",
    "Do not forget to subscribe to the channel.",
    "I met an old friend last weekend.",
    "This video is sponsored by nobody at all.",
    "The weather has been lovely these days.",
    "People often ask me where I live.",
    "Stay until the end, it will be fun.",
)
HEADING = "How it is done, step by step."
LISTING = ("{action}.",)
LISTING_LONG = (
    "Get everything ready before you begin, then {action}, and do not hurry: nobody gives a prize for being quick.",
    "There are many opinions on this part, but most people who have tried will {action} once and then check twice.",
    "When all of that is done and the light is still good enough to see what you are doing, {action} with both hands.",
)
EXTRA = (
    "Filmed on an old camera in natural light.",
    "All opinions are my own.",
    "Music by a friend of the family.",
    "Links and discounts are listed on the website.",
    "New videos come out every second Friday.",
    "Follow along on the usual platforms.",
    "Thanks to everybody who supports this work.",
    "Captions are provided.",
)
SEGMENT_KINDS = {"told": 2, "silent": 2, "decoy": 3, "aside": 3, "teaser": 2, "detour": 3, "filler": 2}  # the demo's
TELLING_KINDS, CHATTER_KINDS = ("told", "decoy"), ("teaser", "detour", "filler")
IMPORTANT = ("told", "silent", "spectacle")
NUM_ANNOTATORS = 20
ANNOTATOR_NOISE = 0.78
WAYS_TO_MISHEAR = 20  # of every sentence, so that a set of any size has few texts to encode
WORDS = sorted({w for text in (*TELLING, *CHATTER, *ACTIONS) for w in text.split() if "{" not in w})


@dataclass(frozen=True)
class World:
    """Set the dials of the process; the defaults are the demo set.

    Args:
        told, silent, decoy, aside, teaser, detour, filler: Segments of each kind in a video.
        steps: Listed actions. Told and silent segments show each once before any again; so do decoys and asides with
            the other actions; teasers and detours come after them.
        spectacles: Actions that are important in every video and never listed, the last ones of `ACTIONS`.
        segment_s: Shortest and longest segment in whole seconds, drawn evenly. With lengths that differ more than the
            demo's, the knapsack of the key-shot F1 rewards short segments over important ones.
        subtitle_shift_s: Sentences appear so much later (negative: earlier) than they are spoken.
        subtitle_jitter_s: Standard deviation of a further shift, of each sentence by itself. What is shifted out of
            the video is cut off.
        subtitle_missing: Share of sentences that the subtitles lack.
        asr_error: Share of a sentence's words that are other words of the subtitles, as of a poor speech recogniser.
        description_extra: Lines about something else that the description has too.
        description_missing: Share of steps that it does not list.
        description_wrong: Share of the listed steps in whose place it lists another action.
        description_long: Steps in sentences of 20 words.
        annotator_noise: Standard deviation of an annotator's own opinion of a segment; importance is 1 or 0.
        shared_taste: Standard deviation of what all annotators agree on and nothing tells.

    Raises:
        ValueError: A dial that cannot be, named with its value.
    """

    told: int = SEGMENT_KINDS["told"]
    silent: int = SEGMENT_KINDS["silent"]
    decoy: int = SEGMENT_KINDS["decoy"]
    aside: int = SEGMENT_KINDS["aside"]
    teaser: int = SEGMENT_KINDS["teaser"]
    detour: int = SEGMENT_KINDS["detour"]
    filler: int = SEGMENT_KINDS["filler"]
    steps: int = 4
    spectacles: int = 0
    segment_s: tuple[int, int] = (4, 5)
    subtitle_shift_s: float = 0.0
    subtitle_jitter_s: float = 0.0
    subtitle_missing: float = 0.0
    asr_error: float = 0.0
    description_extra: int = 0
    description_missing: float = 0.0
    description_wrong: float = 0.0
    description_long: bool = False
    annotator_noise: float = ANNOTATOR_NOISE
    shared_taste: float = 0.0

    def __post_init__(self) -> None:
        shares = ("subtitle_missing", "asr_error", "description_missing", "description_wrong")
        for dial in (field.name for field in fields(self) if field.name not in ("segment_s", "subtitle_shift_s")):
            most = 1.0 if dial in shares else np.inf
            if not 0 <= getattr(self, dial) <= most:
                raise HierSumError(f"{dial}: expected 0 to {most:g}, found {getattr(self, dial)}")
        if not 1 <= self.segment_s[0] <= self.segment_s[1]:
            raise HierSumError(f"segment_s: expected 1 <= shortest <= longest, found {self.segment_s}")
        if not any(self.kinds.values()):
            raise HierSumError(f"{', '.join(self.kinds)}: expected a segment of one of these kinds, found none")
        if self.steps + self.spectacles >= len(ACTIONS):
            found = f"{self.steps} + {self.spectacles}"
            raise HierSumError(f"steps + spectacles: expected fewer than the {len(ACTIONS)} actions, found {found}")
        if self.steps == 0 < self.told + self.silent + self.teaser:
            raise HierSumError("steps: expected at least 1 where segments are told, silent or teasers, found 0")

    @property
    def kinds(self) -> dict[str, int]:
        """Segments of each kind."""
        return {kind: getattr(self, kind) for kind in SEGMENT_KINDS}


DEMO = World()
_ALL_TOLD = World(
    told=4, silent=0, decoy=0, aside=0, teaser=0, detour=16, filler=0, steps=2, annotator_noise=0.85, shared_taste=0.25
)
_HALF_TOLD = replace(_ALL_TOLD, told=2, silent=2, decoy=8, aside=8, detour=0)
REGIMES = {
    "complementary": World(annotator_noise=0.90, shared_taste=0.25),
    "shared": _ALL_TOLD,
    "local": replace(_ALL_TOLD, description_missing=1.0, description_extra=2),
    "global": _HALF_TOLD,
    "picture": replace(_HALF_TOLD, told=0, silent=0, decoy=10, aside=10, steps=0, spectacles=2, description_extra=2),
}


@dataclass(frozen=True)
class LatentSegment:
    """Describe one stretch of a made-up video.

    It says what the stretch shows, what is said, and whether it matters.
    """

    kind: str
    concept: int
    variant: int
    start_s: float
    end_s: float
    subtitle: str | None


@dataclass(frozen=True, eq=False)
class LatentVideo:
    """Describe a made-up video before any feature.

    It has its segments, its description and the ratings (20, S) of its segments, 1 to 5.
    """

    video_id: str
    segments: tuple[LatentSegment, ...]
    description: tuple[str, ...]
    ratings: np.ndarray
    seed: int
    world: World = DEMO

    @property
    def duration_s(self) -> float:
        return self.segments[-1].end_s

    @property
    def importance(self) -> np.ndarray:
        """Importance (S,) float64 of the segments, 1 or 0."""
        return np.array([segment.kind in IMPORTANT for segment in self.segments], float)

    @property
    def sentences(self) -> tuple[Sentence, ...]:
        """Subtitles as the world's dials have them.

        That is what is said, late, missing or misheard.
        """
        world, num = self.world, len(self.segments)
        # Each dial draws from a generator of its own, so turning one leaves what the others drew.
        late_s = world.subtitle_shift_s + world.subtitle_jitter_s * self.random("jitter").standard_normal(num)
        # A share p: kept iff u >= p, so a greater p loses what a lesser one does and more.
        kept = self.random("missing").random(num) >= world.subtitle_missing
        ways = self.random("asr").integers(WAYS_TO_MISHEAR, size=num)
        found = []
        for segment, delay_s, is_kept, way in zip(self.segments, late_s, kept, ways, strict=True):
            # What is shifted out of the video is cut off, and all of it leaves no sentence.
            start_s, end_s = np.clip([segment.start_s + delay_s, segment.end_s + delay_s], 0, self.duration_s)
            if segment.subtitle and is_kept and start_s < end_s:
                text = _misheard(segment.subtitle, world.asr_error, int(way))
                found.append(Sentence(text, float(start_s), float(end_s)))
        return tuple(found)

    def random(self, purpose: str) -> np.random.Generator:
        """Make random numbers for one purpose, the same at each call."""
        return np.random.default_rng([self.seed, *f"{self.video_id} {purpose}".encode()])


def make_video(index: int, seed: int = 0, world: World = DEMO) -> LatentVideo:
    """Make video `index` of the set with this seed.

    Any video can be made on its own.
    """
    rng = np.random.default_rng([seed, index])
    first_spectacle = len(ACTIONS) - world.spectacles
    actions = rng.permutation(len(ACTIONS))
    # Spectacles are the last actions and never steps.
    steps = actions[actions < first_spectacle][: world.steps]
    others = actions[~np.isin(actions, steps)]
    kinds = [kind for kind, count in world.kinds.items() for _ in range(count)]
    concepts = _concepts(rng, world, steps, others)
    segments, time_s = [], 0.0
    for k in rng.permutation(len(kinds)):
        kind, concept = kinds[k], int(concepts[k])
        subtitle = None
        if kind in TELLING_KINDS:
            subtitle = str(rng.choice(TELLING)).format(action=ACTIONS[concept])
        elif kind in CHATTER_KINDS:
            subtitle = str(rng.choice(CHATTER))
        if first_spectacle <= concept < len(ACTIONS):
            kind = "spectacle"
        end_s = time_s + int(rng.integers(world.segment_s[0], world.segment_s[1] + 1))
        segments.append(LatentSegment(kind, concept, int(rng.integers(NUM_VARIANTS)), time_s, end_s, subtitle))
        time_s = end_s
    video = LatentVideo(f"demo_{seed}_{index:04d}", tuple(segments), (), np.empty(0), seed, world)
    description = _description(video, steps, others[others < first_spectacle])
    opinions = world.annotator_noise * rng.standard_normal((NUM_ANNOTATORS, len(segments)))
    opinions += world.shared_taste * video.random("taste").standard_normal(len(segments))
    # 2 for unimportant and 4 for important, an annotator's own opinion and the shared taste on top, rounded to 1 to 5.
    ratings = np.clip(np.rint(2.0 + 2.0 * (video.importance + opinions)), 1, 5)
    return replace(video, description=description, ratings=ratings)


def _concepts(rng: np.random.Generator, world: World, steps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Choose what each segment shows, in the order of `World.kinds`."""
    listed, unlisted = world.told + world.silent, world.decoy + world.aside
    of_steps = _in_turns(rng, steps, listed + world.teaser)
    of_others = _in_turns(rng, others, unlisted + world.detour)
    presenters = rng.integers(len(ACTIONS), NUM_CONCEPTS, world.filler)
    return np.concatenate(
        [of_steps[:listed], of_others[:unlisted], of_steps[listed:], of_others[unlisted:], presenters]
    )


def _in_turns(rng: np.random.Generator, pool: np.ndarray, count: int) -> np.ndarray:
    """Take `count` concepts of the pool in turns.

    Each comes once in its order, then each once more in a random order, and so on.
    """
    turns = [pool[:count]]
    while (left := count - sum(map(len, turns))) > 0:
        turns.append(rng.choice(pool, min(left, len(pool)), replace=False))
    return np.concatenate(turns)


def _description(video: LatentVideo, steps: np.ndarray, others: np.ndarray) -> tuple[str, ...]:
    """Write heading, steps and what else the dials put there.

    `others` are the actions that it may list wrongly.
    """
    world = video.world
    is_missing = video.random("unlisted").random(len(ACTIONS)) < world.description_missing
    rng = video.random("wrong")
    is_wrong = rng.random(len(ACTIONS)) < world.description_wrong
    instead = np.resize(rng.permutation(others), len(steps))
    wording, lines = LISTING_LONG if world.description_long else LISTING, [HEADING]
    for number, step in enumerate(steps):
        line = wording[number % len(wording)].format(action=ACTIONS[instead[number] if is_wrong[number] else step])
        lines += [] if is_missing[number] else [line[0].upper() + line[1:]]
    extra = video.random("extra").permutation(EXTRA)
    return (*lines, *(str(extra[k % len(EXTRA)]) for k in range(world.description_extra)))


@cache
def _misheard(text: str, share: float, way: int) -> str:
    """Replace this share of the text's words.

    Which words and by what follows from the way.
    """
    rng, words = np.random.default_rng([way, *text.encode()]), text.split()
    is_wrong, instead = rng.random(len(words)) < share, rng.integers(len(WORDS) - 1, size=len(words))
    heard = [
        [other for other in WORDS if other != word][k] if wrong else word
        for word, wrong, k in zip(words, is_wrong, instead, strict=True)
    ]
    return " ".join(heard)
