use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use snap::raw::{Decoder, max_compress_len};

/// How many random messages each property is tried on; more by `WEIR_CASES`.
fn cases(usual: u32) -> ProptestConfig {
    let cases = std::env::var("WEIR_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual);
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

fn block(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new().pack(message, &mut out);
    out
}

/// The block of a message, after a look at what is promised of each block.
fn checked_block(message: &[u8]) -> Vec<u8> {
    let block = block(message);
    assert_eq!(Decoder::new().decompress_vec(&block).as_deref(), Ok(message), "of {} bytes", message.len());
    assert!(block.len() <= message.len() + 16, "{} bytes of {}", block.len(), message.len());
    assert!(block.len() <= max_compress_len(message.len()));
    block
}

/// Bytes without a pattern, always the same ones.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

fn line(number: usize) -> String {
    let (id, took) = (number.wrapping_mul(0x9E37_79B9) as u32, number * 37 % 1000);
    format!(r#"{{"time": "2026-11-21T02:25:{:02}", "id": "{id:08x}", "status": 200, "took": 0.{took}}}"#, number % 60)
}

fn lines(bytes: usize) -> Vec<u8> {
    let mut lines: Vec<u8> = (0..).map(line).take(bytes / 70 + 1).collect::<String>().into_bytes();
    lines.truncate(bytes);
    lines
}

/// A part of a message, made from what is there of it already.
#[derive(Clone, Debug)]
enum Part {
    Bytes(Vec<u8>),
    Run(u8, usize),
    Line(usize),
    /// So many bytes once more, from so far back, with one of them changed.
    Again {
        back: usize,
        bytes: usize,
        changed: usize,
    },
}

fn part() -> impl Strategy<Value = Part> {
    let again = |back, bytes| {
        (back, bytes, any::<usize>()).prop_map(|(back, bytes, changed)| Part::Again { back, bytes, changed })
    };
    prop_oneof![
        4 => vec(any::<u8>(), 0..40).prop_map(Part::Bytes),
        2 => vec(0..3u8, 0..40).prop_map(Part::Bytes),
        1 => (any::<u8>(), 0..200usize).prop_map(|(byte, bytes)| Part::Run(byte, bytes)),
        4 => (0..300usize).prop_map(Part::Line),
        4 => again(1..3000usize, 1..90usize),
        1 => again(1..80_000usize, 1..400usize),
    ]
}

/// The parts one after the other, the first behind `before` bytes of lines or of noise.
fn message(before: usize, noisy: bool, parts: Vec<Part>) -> Vec<u8> {
    let mut message = if noisy { noise(before) } else { lines(before) };
    for part in parts {
        match part {
            Part::Bytes(bytes) => message.extend(bytes),
            Part::Run(byte, bytes) => message.resize(message.len() + bytes, byte),
            Part::Line(number) => message.extend(line(number).into_bytes()),
            Part::Again { back, bytes, changed } => {
                let from = message.len().saturating_sub(back);
                let mut again = message[from..message.len().min(from + bytes)].to_vec();
                if let Some(at) = changed.checked_rem(again.len()) {
                    again[at] ^= (changed >> 32) as u8 & 1;
                }
                message.extend(again);
            }
        }
    }
    message
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn a_message_comes_back_from_its_block(parts in vec(part(), 0..24)) {
        checked_block(&message(0, false, parts));
    }

    #[test]
    fn bytes_of_any_kind_come_back(bytes in vec(any::<u8>(), 0..150), width in 1..9u32) {
        checked_block(&bytes.iter().map(|byte| byte >> (8 - width)).collect::<Vec<u8>>());
    }
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn a_message_comes_back_around_64_kib(
        before in 65_300..65_800usize, times in 1..3usize, noisy: bool, parts in vec(part(), 0..24),
    ) {
        checked_block(&message(before * times, noisy, parts));
    }
}

#[test]
fn all_short_lengths_and_those_around_limits_come_back() {
    for bytes in (0..200).chain(65_500..65_600).chain([131_071, 131_072, 131_073, 1 << 20, (3 << 20) + 5]) {
        checked_block(&lines(bytes));
        checked_block(&noise(bytes));
        checked_block(&vec![b'x'; bytes]);
    }
}

#[test]
fn copies_of_all_lengths_and_distances_at_the_limits_come_back() {
    let noise = noise(70_000);
    for bytes in (8..150_usize).chain([1000, 65_535, 65_536]) {
        for distance in [bytes, bytes + 1, 2047_usize, 2048, 3000, 65_535, 65_536, 65_537] {
            // A run is one copy that ends where the text begins, so that the text is looked for from its first byte on.
            let between = vec![b'.'; distance.saturating_sub(bytes)];
            checked_block(&[&b"*"[..], &noise[..bytes], &between, &noise[..bytes], b"the end"].concat());
        }
    }
}

#[test]
fn literals_of_all_lengths_come_back() {
    for bytes in (0..70).chain([255, 256, 257, 65_535, 65_536, 65_537, 200_000]) {
        let literal = &noise(300_000)[300_000 - bytes..];
        checked_block(literal);
        checked_block(&[b"a text that comes again ", literal, b"a text that comes again", literal].concat());
    }
}

#[test]
fn a_text_is_found_across_the_ends_of_64_kib() {
    let (before, text) = (noise(65_500), lines(300));
    let once = checked_block(&[&before[..], &text].concat()).len();
    let twice = checked_block(&[&before[..], &text, &text].concat()).len();
    assert!(twice - once < 30, "{} bytes", twice - once);
}

#[test]
fn a_text_one_place_too_far_back_is_no_copy() {
    let text = &lines(3000)[2900..];
    for between in [65_435, 65_436, 65_437] {
        checked_block(&[b"*", text, &noise(between), text].concat());
    }
}

#[test]
fn bytes_without_a_pattern_stay_as_they_are() {
    let message = noise(1 << 20);
    assert!(checked_block(&message).len() <= message.len() + 9);
}

#[test]
fn lines_get_at_most_a_twentieth_larger_than_with_the_usual_encoder() {
    let message = lines(1 << 20);
    let usual = snap::raw::Encoder::new().compress_vec(&message).expect("a small message").len();
    let ours = checked_block(&message).len();
    assert!(ours * 20 <= usual * 21, "{ours} bytes, {usual} by the usual encoder");
}

#[test]
fn a_message_is_packed_alike_whatever_was_packed_before() {
    let (mut encoder, mut out) = (Encoder::new(), Vec::new());
    for message in [lines(300_000), vec![], lines(70), noise(2 << 20), lines(5_000), lines(300_000), vec![0; 66_000]] {
        encoder.pack(&message, &mut out);
        assert!(out == block(&message), "of {} bytes", message.len());
    }
}

#[test]
fn a_result_that_has_room_is_not_allocated_anew() {
    let (mut encoder, mut out) = (Encoder::new(), Vec::with_capacity(room_bytes(1 << 20)));
    let before = (out.as_ptr(), out.capacity());
    for message in [noise(1 << 20), lines(1 << 20), vec![0; 1 << 20], noise((1 << 20) - 1), vec![]] {
        encoder.pack(&message, &mut out);
        assert_eq!((out.as_ptr(), out.capacity()), before);
    }
}
