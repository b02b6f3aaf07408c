//! What goes wrong on purpose, and with which request.

use std::collections::VecDeque;
use std::str::FromStr;

use prusik_core::model::{ModelError, ModelErrorKind};

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// An error answer, as the service words it.
    Error(ModelErrorKind),
    /// 429 that asks to wait so many milliseconds.
    RateLimited { retry_after_ms: u64 },
    /// The connection closes after so many events. An answer that is not streamed is cut in half.
    Cut { after_events: usize },
    /// The stream reports an overloaded service after so many events, and ends.
    ErrorEvent { after_events: usize },
    /// Nothing comes any more after so many events; the connection stays open.
    Stall { after_events: usize },
    /// 200 with something that is not the protocol.
    Garbage,
}

impl Fault {
    /// Returns the error answer that the fault stands for, if it stands for one.
    pub(crate) fn error(self) -> Option<ModelError> {
        let message = "this request fails on purpose";
        match self {
            Self::Error(kind) => Some(ModelError::new(kind, message)),
            Self::RateLimited { retry_after_ms } => Some(ModelError {
                retry_after_ms: Some(retry_after_ms),
                ..ModelError::new(ModelErrorKind::RateLimited, message)
            }),
            Self::None
            | Self::Cut { .. }
            | Self::ErrorEvent { .. }
            | Self::Stall { .. }
            | Self::Garbage => None,
        }
    }
}

/// The faults of a server's requests in the order in which they arrive; later ones go well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultPlan(VecDeque<Fault>);

impl FaultPlan {
    pub fn new(faults: impl IntoIterator<Item = Fault>) -> Self {
        Self(faults.into_iter().collect())
    }

    /// Returns the plan of a service that is overloaded for the first `times` requests.
    pub fn overloaded_first(times: usize) -> Self {
        Self(std::iter::repeat_n(Fault::Error(ModelErrorKind::Overloaded), times).collect())
    }

    pub(crate) fn next(&mut self) -> Fault {
        self.0.pop_front().unwrap_or(Fault::None)
    }
}

/// Says why a text is not a plan of faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseFaultError(String);

impl std::fmt::Display for ParseFaultError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} is not a fault; use ok, overloaded, server, auth, context, rate-limited:MS, cut:N, \
             error-event:N, stall:N or garbage",
            self.0
        )
    }
}

impl std::error::Error for ParseFaultError {}

impl FromStr for Fault {
    type Err = ParseFaultError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (word, number) = match text.split_once(':') {
            Some((word, number)) => {
                (word, Some(number.parse::<u32>().map_err(|_| ParseFaultError(text.to_owned()))?))
            }
            None => (text, None),
        };
        let after_events = number.unwrap_or_default() as usize;
        match (word, number) {
            ("ok", None) => Ok(Self::None),
            ("overloaded", None) => Ok(Self::Error(ModelErrorKind::Overloaded)),
            ("server", None) => Ok(Self::Error(ModelErrorKind::Server)),
            ("auth", None) => Ok(Self::Error(ModelErrorKind::Authentication)),
            ("context", None) => Ok(Self::Error(ModelErrorKind::ContextFull)),
            ("rate-limited", Some(ms)) => Ok(Self::RateLimited { retry_after_ms: ms.into() }),
            ("cut", Some(_)) => Ok(Self::Cut { after_events }),
            ("error-event", Some(_)) => Ok(Self::ErrorEvent { after_events }),
            ("stall", Some(_)) => Ok(Self::Stall { after_events }),
            ("garbage", None) => Ok(Self::Garbage),
            _ => Err(ParseFaultError(text.to_owned())),
        }
    }
}

impl FromStr for FaultPlan {
    type Err = ParseFaultError;

    /// Parses faults with commas between them, one for each request.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let faults = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        faults.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_in_order_and_then_all_goes_well() {
        let mut plan: FaultPlan = "overloaded, ok,cut:3,rate-limited:20".parse().unwrap();
        assert_eq!(plan.next(), Fault::Error(ModelErrorKind::Overloaded));
        assert_eq!(plan.next(), Fault::None);
        assert_eq!(plan.next(), Fault::Cut { after_events: 3 });
        assert_eq!(plan.next(), Fault::RateLimited { retry_after_ms: 20 });
        assert_eq!(plan.next(), Fault::None);
    }

    #[test]
    fn a_fault_without_its_number_is_refused_by_name() {
        for wrong in ["cut", "ok:1", "cut:x", "explode"] {
            let error = wrong.parse::<FaultPlan>().unwrap_err();
            assert!(error.to_string().contains(&format!("{wrong:?}")), "{error}");
        }
    }
}
