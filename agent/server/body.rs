//! Bodies of answers: whole, in chunks, or in chunks and compressed. What is not sent yet is not made yet.

use super::chunks::Chunks;
use super::connection::Sending;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::{Frame, SizeHint};
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Compressed bytes that are worth a write of their own.
const COMPRESSED_BYTES_MIN: usize = 16 * 1024;

pub(super) struct Body {
    content: Content,
    /// Tells the connection, by being dropped, that nothing more will come.
    _sending: Option<Sending>,
}

enum Content {
    Whole(Bytes),
    Chunks(Chunks),
    Gzip { chunks: Chunks, encoder: GzEncoder<Vec<u8>> },
    End,
}

impl Body {
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Body { content: Content::Whole(bytes.into()), _sending: None }
    }

    pub(super) fn chunks(chunks: Chunks) -> Self {
        Body { content: Content::Chunks(chunks), _sending: None }
    }

    /// The fastest level: metrics shrink by an order of magnitude at any, and the agent's CPU is not its own.
    pub(super) fn gzip(chunks: Chunks) -> Self {
        let encoder = GzEncoder::new(Vec::new(), Compression::fast());
        Body { content: Content::Gzip { chunks, encoder }, _sending: None }
    }

    pub(super) fn sent_by(self, sending: Sending) -> Self {
        Body { _sending: Some(sending), ..self }
    }
}

impl Content {
    /// The next bytes to send, never empty.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let next = match self {
            Content::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Content::End;
                Some(bytes).filter(|bytes| !bytes.is_empty())
            }
            Content::Chunks(chunks) => loop {
                match ready!(chunks.poll_next(cx)?) {
                    Some(chunk) if chunk.is_empty() => {}
                    chunk => break chunk,
                }
            },
            Content::Gzip { chunks, encoder } => loop {
                let Some(chunk) = ready!(chunks.poll_next(cx)?) else {
                    encoder.try_finish().expect("a Vec takes every byte");
                    let rest = std::mem::take(encoder.get_mut());
                    *self = Content::End;
                    break Some(rest.into());
                };
                encoder.write_all(&chunk).expect("a Vec takes every byte");
                if encoder.get_ref().len() >= COMPRESSED_BYTES_MIN {
                    break Some(std::mem::take(encoder.get_mut()).into());
                }
            },
            Content::End => None,
        };
        Poll::Ready(next.map(Ok))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    /// Ends the connection, which says that the answer is no whole one.
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.content.poll_next(cx).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_empty(),
            Content::End => true,
            _ => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::End => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}

/// Whether a value of `Accept-Encoding` allows gzip (RFC 9110, 12.5.3): named or by `*`, and not with a weight of 0.
/// What names gzip wins over `*`.
pub(super) fn accepts_gzip(value: &str) -> bool {
    let mut any = false;
    for item in value.split(',') {
        let mut parts = item.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let allowed = weight.is_none_or(|q| q.parse::<f32>().is_ok_and(|q| q > 0.0));
        if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
            return allowed;
        }
        any |= coding == "*" && allowed;
    }
    any
}

#[cfg(test)]
mod tests {
    use super::super::chunks::{CHUNK_BYTES, chunks};
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::thread::JoinHandle;

    #[test]
    fn gzip_is_used_only_where_it_is_allowed() {
        for (value, allowed) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("*, gzip; q=0.000", false),
            ("gzip;q=", false),
            ("identity", false),
            ("xgzip", false),
            ("", false),
        ] {
            assert_eq!(accepts_gzip(value), allowed, "{value:?}");
        }
    }

    /// Far more than any buffer holds.
    const CHUNKS: usize = 200;

    /// A body that another thread writes, how many whole chunks it has written, and how it ended.
    fn written(gzip: bool) -> (Body, Arc<AtomicUsize>, JoinHandle<io::Result<()>>) {
        let (mut writer, chunks) = chunks();
        let made = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&made);
        let writing = std::thread::spawn(move || {
            let mut random = 1u64;
            for _ in 0..CHUNKS {
                // Bytes that do not shrink.
                let bytes = (0..CHUNK_BYTES / 4).flat_map(|_| {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    ((random >> 32) as u32).to_be_bytes()
                });
                counted.fetch_add(1, Relaxed);
                writer.write_all(&bytes.collect::<Vec<_>>())?;
            }
            writer.end()
        });
        (if gzip { Body::gzip(chunks) } else { Body::chunks(chunks) }, made, writing)
    }

    /// Waits for the next bytes as a connection does.
    fn next(body: &mut Body) -> Option<io::Result<Bytes>> {
        use hyper::body::Body as _;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let frame = runtime.block_on(std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)));
        frame.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default()))
    }

    #[test]
    fn an_answer_is_written_as_it_is_taken() {
        for gzip in [false, true] {
            let (mut body, made, writing) = written(gzip);
            let (mut taken, mut sent) = (0, 0);
            while let Some(bytes) = next(&mut body) {
                let bytes = bytes.expect("a whole answer");
                assert!(!bytes.is_empty() && bytes.len() <= 3 * CHUNK_BYTES, "{} bytes at once", bytes.len());
                sent += bytes.len();
                taken += 1;
                // For a writer that would go on.
                (0..100).for_each(|_| std::thread::yield_now());
                let made = made.load(Relaxed);
                // One is being written, one waits, and of what is packed some may not have been handed on.
                assert!(made <= taken + 2 + usize::from(gzip), "{made} chunks for {taken} that were taken");
            }
            writing.join().unwrap().expect("written to its end");
            assert!(sent > CHUNKS * CHUNK_BYTES * 9 / 10, "{sent} bytes");
        }
    }

    #[test]
    fn a_writer_ends_when_nobody_takes_its_answer() {
        for gzip in [false, true] {
            let (mut body, made, writing) = written(gzip);
            next(&mut body).expect("a beginning").expect("a chunk");
            drop(body);
            assert_eq!(writing.join().unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
            assert!(made.load(Relaxed) < CHUNKS);
        }
    }

    #[test]
    fn half_an_answer_is_an_error_and_an_empty_one_is_none() {
        for gzip in [false, true] {
            let body = |chunks| if gzip { Body::gzip(chunks) } else { Body::chunks(chunks) };
            let (writer, chunks) = chunks();
            drop(writer);
            assert!(next(&mut body(chunks)).expect("an error").is_err());

            let (writer, chunks) = super::super::chunks::chunks();
            writer.end().expect("there is room for one");
            let mut body = body(chunks);
            let bytes: Vec<Bytes> = std::iter::from_fn(|| next(&mut body)).map(Result::unwrap).collect();
            assert_eq!(bytes.len(), usize::from(gzip), "an empty file, packed, has bytes");
        }
    }
}
