//! Conversions into the errors that services return.

use std::io;

use super::{LockError, LockErrorKind};

impl From<LockError> for io::Error {
    fn from(error: LockError) -> Self {
        use LockErrorKind as Kind;
        let kind = match error.kind() {
            Kind::Busy if error.waited().is_some_and(|waited| !waited.is_zero()) => {
                io::ErrorKind::TimedOut
            }
            Kind::Busy | Kind::WouldBlock => io::ErrorKind::WouldBlock,
            Kind::NotYourTurn | Kind::Unauthenticated => io::ErrorKind::PermissionDenied,
            Kind::InvalidName | Kind::InvalidOption => io::ErrorKind::InvalidInput,
            Kind::Unsupported => io::ErrorKind::Unsupported,
            Kind::Unavailable | Kind::Closed => io::ErrorKind::NotConnected,
            Kind::Reentered => io::ErrorKind::Deadlock,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// What a client of a service is told: the kind of failure, and nothing of the machines and
/// functions that the error itself names.
#[cfg(any(feature = "axum", feature = "tonic"))]
fn for_clients(kind: LockErrorKind) -> &'static str {
    use LockErrorKind as Kind;
    match kind {
        Kind::Busy | Kind::Conflict | Kind::WouldBlock => "it is in use, try again",
        Kind::NotYourTurn => "not your turn",
        Kind::Unauthenticated => "a caller is required",
        Kind::Closed | Kind::Lost | Kind::Unavailable => "try again",
        Kind::InvalidName => "a value is not a valid one",
        _ => "internal error",
    }
}

#[cfg(feature = "axum")]
mod axum {
    use axum_core::response::{IntoResponse, Response};
    use http::StatusCode;

    use super::{LockError, LockErrorKind as Kind, for_clients};

    impl From<LockError> for StatusCode {
        /// `423 Locked` for a lock that is in use, `403` for another's turn, `401` without a
        /// caller, `503` where trying again may help, `400` for a bad name, `500` otherwise.
        fn from(error: LockError) -> Self {
            match error.kind() {
                Kind::Busy | Kind::Conflict | Kind::WouldBlock => Self::LOCKED,
                Kind::NotYourTurn => Self::FORBIDDEN,
                Kind::Unauthenticated => Self::UNAUTHORIZED,
                Kind::Closed | Kind::Lost | Kind::Unavailable => Self::SERVICE_UNAVAILABLE,
                Kind::InvalidName => Self::BAD_REQUEST,
                _ => Self::INTERNAL_SERVER_ERROR,
            }
        }
    }

    impl From<LockError> for (StatusCode, String) {
        fn from(error: LockError) -> Self {
            let text = for_clients(error.kind()).to_owned();
            (error.into(), text)
        }
    }

    impl IntoResponse for LockError {
        fn into_response(self) -> Response {
            <(StatusCode, String)>::from(self).into_response()
        }
    }

    impl From<LockError> for Response {
        fn from(error: LockError) -> Self {
            error.into_response()
        }
    }
}

#[cfg(feature = "tonic")]
impl From<LockError> for tonic::Status {
    /// `ABORTED` for a lock that is in use or was lost, `PERMISSION_DENIED` for another's turn,
    /// `UNAUTHENTICATED` without a caller, `UNAVAILABLE` where trying again may help,
    /// `INVALID_ARGUMENT` for a bad name, `INTERNAL` otherwise.
    fn from(error: LockError) -> Self {
        use LockErrorKind as Kind;
        let code = match error.kind() {
            Kind::Busy | Kind::Conflict | Kind::WouldBlock | Kind::Lost => tonic::Code::Aborted,
            Kind::NotYourTurn => tonic::Code::PermissionDenied,
            Kind::Unauthenticated => tonic::Code::Unauthenticated,
            Kind::Closed | Kind::Unavailable => tonic::Code::Unavailable,
            Kind::InvalidName => tonic::Code::InvalidArgument,
            _ => tonic::Code::Internal,
        };
        Self::new(code, for_clients(error.kind()))
    }
}
