//! What a body consists of on its way: data, then perhaps trailers.

use bytes::Bytes;

use super::Fields;

/// A piece of a body.
#[derive(Debug)]
pub enum Frame {
    /// Some of its bytes.
    Data(Bytes),
    /// Fields behind it, with which it ends (RFC 9110 §6.5).
    Trailers(Fields),
}

impl Frame {
    /// Its data, if it is that.
    pub fn data_ref(&self) -> Option<&Bytes> {
        match self {
            Self::Data(data) => Some(data),
            Self::Trailers(_) => None,
        }
    }

    /// Its trailers, if it is those.
    pub fn trailers_ref(&self) -> Option<&Fields> {
        match self {
            Self::Data(_) => None,
            Self::Trailers(trailers) => Some(trailers),
        }
    }

    /// Its data; itself, if it is something else.
    ///
    /// # Errors
    /// It is no data.
    pub fn into_data(self) -> Result<Bytes, Self> {
        match self {
            Self::Data(data) => Ok(data),
            Self::Trailers(_) => Err(self),
        }
    }

    /// Its trailers; itself, if it is something else.
    ///
    /// # Errors
    /// It is no trailers.
    pub fn into_trailers(self) -> Result<Fields, Self> {
        match self {
            Self::Data(_) => Err(self),
            Self::Trailers(trailers) => Ok(trailers),
        }
    }
}

impl From<http_body::Frame<Bytes>> for Frame {
    fn from(frame: http_body::Frame<Bytes>) -> Self {
        match frame.into_data() {
            Ok(data) => Self::Data(data),
            // There is no third kind.
            Err(frame) => Self::Trailers(frame.into_trailers().unwrap_or_default().into()),
        }
    }
}

impl From<Frame> for http_body::Frame<Bytes> {
    fn from(frame: Frame) -> Self {
        match frame {
            Frame::Data(data) => Self::data(data),
            Frame::Trailers(trailers) => Self::trailers(trailers.into()),
        }
    }
}
