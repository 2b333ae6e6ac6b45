//! Bodies of answers: whole, in chunks, or in chunks and compressed. What is not sent yet is not made yet.

use super::connection::Sending;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::{Frame, SizeHint};
use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Compressed bytes that are worth a write of their own.
const COMPRESSED_BYTES_MIN: usize = 16 * 1024;

/// Pieces of a body, made one by one as the client takes them. They run on the server's thread, so each should take
/// little time (64 KiB of text is a good size) and wait for nothing.
pub type Chunks = Box<dyn Iterator<Item = Bytes> + Send>;

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
    fn next(&mut self) -> Option<Bytes> {
        match self {
            Content::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Content::End;
                Some(bytes).filter(|bytes| !bytes.is_empty())
            }
            Content::Chunks(chunks) => chunks.find(|chunk| !chunk.is_empty()),
            Content::Gzip { chunks, encoder } => {
                for chunk in chunks.by_ref() {
                    encoder.write_all(&chunk).expect("a Vec takes every byte");
                    if encoder.get_ref().len() >= COMPRESSED_BYTES_MIN {
                        return Some(std::mem::take(encoder.get_mut()).into());
                    }
                }
                encoder.try_finish().expect("a Vec takes every byte");
                let rest = std::mem::take(encoder.get_mut());
                *self = Content::End;
                Some(rest.into())
            }
            Content::End => None,
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.content.next().map(|bytes| Ok(Frame::data(bytes))))
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
    use super::*;

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

    #[test]
    fn chunks_are_made_only_when_they_are_asked_for_and_empty_ones_are_not_sent() {
        let (made, count) = std::sync::mpsc::channel();
        let chunks = ["a", "", "b"].into_iter().map(move |text| {
            made.send(text).unwrap();
            Bytes::from_static(text.as_bytes())
        });
        let mut content = Content::Chunks(Box::new(chunks));
        assert_eq!(content.next().as_deref(), Some(b"a".as_slice()));
        assert_eq!(count.try_iter().count(), 1);
        assert_eq!(content.next().as_deref(), Some(b"b".as_slice()));
        assert_eq!(content.next(), None);
    }
}
