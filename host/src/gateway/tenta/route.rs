//! Which path and method mean what.

use axum::http::Method;

use super::answer::Fault;

/// A network's and a sensor's identifier, as they stand in the path.
pub(super) type Place<'p> = (&'p str, &'p str);

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'p> {
    Status,
    Users,
    Authentication,
    Networks,
    Sensors(&'p str),
    Sensor(Place<'p>),
    Configurations(Place<'p>),
    Measurements(Place<'p>),
    Logs(Place<'p>),
    LogAggregates(Place<'p>),
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call<'p> {
    Status,
    CreateUser,
    Authenticate,
    CreateNetwork,
    Networks,
    CreateSensor(&'p str),
    Sensors(&'p str),
    UpdateSensor(Place<'p>),
    CreateConfiguration(Place<'p>),
    Configurations(Place<'p>),
    Measurements(Place<'p>),
    Logs(Place<'p>),
    LogAggregates(Place<'p>),
}

impl<'p> Route<'p> {
    /// None: there is no such path.
    pub(super) fn of(path: &'p str, hermes: bool) -> Option<Self> {
        let steps: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        Some(match *steps.as_slice() {
            ["status"] => Self::Status,
            ["users"] => Self::Users,
            ["authentication"] => Self::Authentication,
            ["networks"] => Self::Networks,
            ["networks", n, "sensors"] if !n.is_empty() => Self::Sensors(n),
            ["networks", n, "sensors", s, ref rest @ ..] if !n.is_empty() && !s.is_empty() => match rest {
                [] => Self::Sensor((n, s)),
                ["configurations"] => Self::Configurations((n, s)),
                ["measurements"] => Self::Measurements((n, s)),
                ["logs"] => Self::Logs((n, s)),
                ["logs", "aggregates"] if hermes => Self::LogAggregates((n, s)),
                _ => return None,
            },
            _ => return None,
        })
    }

    pub(super) fn call(self, method: &Method) -> Result<Call<'p>, Fault> {
        Ok(match (self, method) {
            (Self::Status, &Method::GET) => Call::Status,
            (Self::Users, &Method::POST) => Call::CreateUser,
            (Self::Authentication, &Method::POST) => Call::Authenticate,
            (Self::Networks, &Method::POST) => Call::CreateNetwork,
            (Self::Networks, &Method::GET) => Call::Networks,
            (Self::Sensors(n), &Method::POST) => Call::CreateSensor(n),
            (Self::Sensors(n), &Method::GET) => Call::Sensors(n),
            (Self::Sensor(place), &Method::PUT) => Call::UpdateSensor(place),
            (Self::Configurations(place), &Method::POST) => Call::CreateConfiguration(place),
            (Self::Configurations(place), &Method::GET) => Call::Configurations(place),
            (Self::Measurements(place), &Method::GET) => Call::Measurements(place),
            (Self::Logs(place), &Method::GET) => Call::Logs(place),
            (Self::LogAggregates(place), &Method::GET) => Call::LogAggregates(place),
            _ => return Err(Fault::Method(self.methods())),
        })
    }

    fn methods(self) -> &'static str {
        match self {
            Self::Users | Self::Authentication => "POST",
            Self::Sensor(_) => "PUT",
            Self::Networks | Self::Sensors(_) | Self::Configurations(_) => "GET, HEAD, POST",
            Self::Status | Self::Measurements(_) | Self::Logs(_) | Self::LogAggregates(_) => "GET, HEAD",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_the_originals_do() {
        for (path, wanted) in [
            ("/status", Some(Route::Status)),
            ("/networks", Some(Route::Networks)),
            ("/networks/n/sensors", Some(Route::Sensors("n"))),
            ("/networks/n/sensors/s", Some(Route::Sensor(("n", "s")))),
            ("/networks/n/sensors/s/logs", Some(Route::Logs(("n", "s")))),
            ("/networks/n/sensors/s/logs/aggregates", None),
            ("/", None),
            ("/status/", None),
            ("/networks/", None),
            ("/networks//sensors", None),
            ("/networks/n", None),
            ("/networks/n/sensors/", None),
            ("/networks/n/sensors/s/else", None),
        ] {
            assert_eq!(Route::of(path, false), wanted, "{path}");
        }
        let aggregates = Route::of("/networks/n/sensors/s/logs/aggregates", true);
        assert_eq!(aggregates, Some(Route::LogAggregates(("n", "s"))));
    }
}
