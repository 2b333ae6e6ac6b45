//! Lines of many streams against a model of Promtail's stage; bounds, restarts and what becomes of the first line.

use super::super::bench::World;
use super::super::stage::When;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A level makes a stream, `[` begins a block, and its number is a label behind the stage only.
const STAGES: &str = r#"
- regex: {expression: '^(?P<level>[IW])'}
- regex: {expression: '(?P<number>[0-9]+)'}
- labels: {level: }
- multiline: {firstline: '^.\[', max_lines: 4, max_wait_time: 5ms}
- labels: {number: }
"#;

const SOURCES: [&str; 4] = ["a", "b", "nested-1", "nested-2"];

/// What Promtail knows of a stream.
#[derive(Default)]
struct Model {
    streams: BTreeMap<(usize, char), ModelStream>,
    begun: u64,
    out: Vec<String>,
}

#[derive(Default)]
struct ModelStream {
    /// Time and number of the first line.
    first: (i64, u8),
    text: String,
    lines: usize,
    began: u64,
    waits_since: Option<i64>,
}

impl Model {
    fn line(&mut self, source: usize, level: char, begins: bool, number: u8, at: i64) {
        let line = format!("{level}{} {number}", if begins { "[" } else { " " });
        let key = (source, level);
        if !self.streams.contains_key(&key) && !begins {
            self.out.push(entry(source, level, (at, number), &line));
            return;
        }
        if begins {
            self.flush(key);
            self.streams.entry(key).or_default().first = (at, number);
        }
        let stream = self.streams.entry(key).or_default();
        if stream.lines == 0 {
            stream.began = self.begun;
            self.begun += 1;
        } else {
            stream.text.push('\n');
        }
        stream.text.push_str(&line);
        stream.lines += 1;
        stream.waits_since = None;
        if stream.lines == 4 {
            self.flush(key);
        }
    }

    fn flush(&mut self, key: (usize, char)) {
        let Some(stream) = self.streams.get_mut(&key).filter(|stream| stream.lines > 0) else { return };
        self.out.push(entry(key.0, key.1, stream.first, &stream.text));
        (stream.lines, stream.text) = (0, String::new());
    }

    /// Blocks leave that have waited for so long.
    fn flush_waiting(&mut self, millis: i64, now: i64) {
        let waits = |stream: &ModelStream| {
            stream.lines > 0 && (millis == 0 || stream.waits_since.is_some_and(|since| now - since >= millis))
        };
        let mut open: Vec<_> = self.streams.iter().filter(|(_, stream)| waits(stream)).collect();
        open.sort_by_key(|(_, stream)| stream.began);
        for key in open.into_iter().map(|(key, _)| *key).collect::<Vec<_>>() {
            self.flush(key);
        }
    }
}

fn entry(source: usize, level: char, (at, number): (i64, u8), line: &str) -> String {
    let labels = format!("filename=0.log,level={level},number={number},source={}", SOURCES[source]);
    format!("{at} {labels} {}", line.as_bytes().escape_ascii())
}

#[derive(Clone, Debug)]
enum Step {
    Line {
        source: usize,
        warning: bool,
        begins: bool,
        number: u8,
    },
    /// All sources are read to their ends, and time goes by.
    Quiet {
        millis: i64,
    },
    Restart {
        order: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..SOURCES.len(), any::<bool>(), prop::bool::weighted(0.3), any::<u8>())
            .prop_map(|(source, warning, begins, number)| Step::Line { source, warning, begins, number }),
        2 => (0i64..12).prop_map(|millis| Step::Quiet { millis }),
        1 => (0u64..8).prop_map(|order| Step::Restart { order }),
    ]
}

fn wait(world: &mut World, millis: i64) {
    let ids = world.ids.clone();
    world.with(|pipeline, context, _| ids.iter().for_each(|id| pipeline.caught_up(*id, context.monotonic)));
    world.now += millis;
    world.with(|pipeline, context, output| pipeline.release(When::At(context.monotonic), context, output));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("WEIR_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(64)
    ))]

    #[test]
    fn blocks_are_promtails_over_restarts_too(steps in proptest::collection::vec(step(), 0..80)) {
        let (mut world, mut model) = (World::new(STAGES), Model::default());
        for step in steps {
            match step {
                Step::Line { source, warning, begins, number } => {
                    let level = if warning { 'W' } else { 'I' };
                    let line = format!("{level}{} {number}", if begins { "[" } else { " " });
                    world.line(source, line.as_bytes());
                    model.line(source, level, begins, number, world.now);
                }
                Step::Quiet { millis } => {
                    // The clock of this world ticks with each thing done.
                    for stream in model.streams.values_mut() {
                        stream.waits_since.get_or_insert(world.now + 1);
                    }
                    wait(&mut world, millis);
                    model.flush_waiting(5, world.now);
                }
                Step::Restart { order } => {
                    world.restart(STAGES, order);
                    model.streams.values_mut().for_each(|stream| stream.waits_since = None);
                }
            }
            prop_assert_eq!(&world.out.0, &model.out);
            let open: usize = model.streams.values().map(|stream| stream.lines).sum();
            prop_assert_eq!(world.pipeline.held(), open as u64);
        }
        world.end();
        model.flush_waiting(0, 0);
        prop_assert_eq!(&world.out.0, &model.out);
        prop_assert_eq!(world.pipeline.counts().unfinished, 0);
    }
}

fn world(options: &str) -> World {
    World::new(&format!("[{{multiline: {{firstline: '^S'{options}}}}}]"))
}

fn lines(world: &World) -> Vec<&str> {
    world.out.0.iter().map(|entry| entry.splitn(3, ' ').nth(2).unwrap_or_default()).collect()
}

#[test]
fn a_block_waits_from_when_its_source_has_nothing_more() {
    let mut world = world("");
    world.line(0, b"S");
    world.now += 100_000;
    world.with(|pipeline, context, output| pipeline.release(When::At(context.monotonic), context, output));
    assert_eq!(world.pipeline.held(), 1, "more may follow at once");
    wait(&mut world, 2_000);
    world.line(0, b"more");
    wait(&mut world, 2_900);
    assert_eq!(world.pipeline.held(), 2, "the wait begins with each line");
    wait(&mut world, 200);
    assert_eq!(lines(&world), ["S\\nmore"]);
    assert_eq!(world.pipeline.counts().unfinished, 0);
}

#[test]
fn what_follows_a_block_that_has_left_has_the_time_of_the_old_first_line() {
    let mut world = world(", max_lines: 2");
    for line in ["before", "S1", "b", "c", "", "", "", "d"] {
        world.line(0, line.as_bytes());
    }
    world.end();
    // Before the first one lines go alone. Empty ones at the beginning of a block are not to be seen, and count; a block
    // of nothing else leaves, which it does not in Promtail.
    assert_eq!(lines(&world), ["before", "S1\\nb", "c\\n", "", "d"]);
    let times: Vec<&str> = world.out.0.iter().map(|entry| entry.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(times, ["1", "2", "2", "2", "2"]);
}

#[test]
fn the_first_line_decides_over_the_books_and_what_stands_beside() {
    let mut world = World::new(
        "[{modsecurity: {}}, {regex: {expression: '(?P<n>[0-9])'}}, {structured_metadata: {n: }}, \
          {multiline: {firstline: '^S', max_lines: 3}}]",
    );
    for line in ["S1", "2", "3", "4", "S5"] {
        world.line(0, line.as_bytes());
    }
    world.end();
    assert_eq!(lines(&world), ["S1\\n2\\n3", "4", "S5"]);
    assert_eq!(world.out.1, ["n=1", "n=1", "n=5"]);
    // None of them is a line of ModSecurity; each block is one line.
    assert_eq!(world.pipeline.counts().refused_total(), 3);
    assert_eq!(world.pipeline.counts().joined, 2);
}

#[test]
fn a_block_is_cut_at_its_bound_and_counted() {
    let mut world = world(", max_lines: 0");
    world.line(0, b"S");
    (0..300).for_each(|_| world.line(0, &[b'x'; 1_000]));
    world.line(1, b"S");
    world.end();
    let lengths: Vec<usize> = lines(&world).iter().map(|line| line.len()).collect();
    // The newlines of it are printed as two characters.
    assert_eq!(lengths, [BLOCK_BYTES_MAX + 262, 1]);
    let counts = world.pipeline.counts();
    assert_eq!((counts.read, counts.counted, counts.joined, counts.cut), (302, 2, 300, 1));
}

#[test]
fn past_the_bound_of_bytes_the_oldest_block_leaves_and_is_counted() {
    let mut world =
        World::new("[{regex: {expression: '^S(?P<k>[0-9]+)'}}, {labels: {k: }}, {multiline: {firstline: '^S'}}]");
    let filling = "x".repeat(BLOCK_BYTES_MAX - 10);
    for stream in 0..40 {
        world.line(0, format!("S{stream} {filling}").as_bytes());
        let most = BLOCKS_BYTES_MAX / BLOCK_BYTES_MAX;
        assert!(world.pipeline.held() as usize <= most, "{} blocks", world.pipeline.held());
    }
    assert_eq!(world.pipeline.counts().unfinished, world.out.0.len() as u64);
    assert!(world.out.0[0].contains("k=0,") && world.out.0.len() >= 8, "{}", world.out.0.len());
    world.end();
    assert_eq!(world.out.0.len(), 40);
}

#[test]
fn past_the_bound_of_streams_the_one_without_lines_for_longest_is_forgotten() {
    let mut world = World::new(
        "[{regex: {expression: '(?P<k>[0-9]+)'}}, {labels: {k: }}, {multiline: {firstline: '^S', max_lines: 1}}]",
    );
    for stream in 0..STREAMS_MAX + 3 {
        world.line(0, format!("S{stream}").as_bytes());
        if stream % 1_000 == 0 {
            world.line(0, b"0");
        }
    }
    world.out.0.clear();
    let now = world.now;
    // Known by their old time, or not at all.
    for stream in [0, 1, 4, STREAMS_MAX] {
        world.line(0, format!("{stream}").as_bytes());
    }
    let known = |entry: &String| entry.split(' ').next().unwrap_or_default().parse::<i64>().expect("a time") <= now;
    assert_eq!(world.out.0.iter().map(known).collect::<Vec<_>>(), [true, false, true, true]);
}

#[test]
fn a_source_that_ends_takes_its_streams_along() {
    let mut world = world(", max_lines: 2");
    for line in ["S", "x", "y"] {
        world.line(0, line.as_bytes());
        world.line(1, line.as_bytes());
    }
    let kept = world.kept().len();
    let id = world.ids[0];
    world.with(|pipeline, context, output| pipeline.unbind(id, context, output));
    assert_eq!(lines(&world), ["S\\nx", "S\\nx", "y"]);
    assert_eq!(world.kept().len(), kept - 3);
}
