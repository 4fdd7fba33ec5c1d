//! Status classes (RFC 9110 §15).

/// The class of a status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StatusClass {
    /// 1xx.
    Informational,
    /// 2xx.
    Successful,
    /// 3xx.
    Redirection,
    /// 4xx.
    ClientError,
    /// 5xx.
    ServerError,
    /// 600–999: no class of RFC 9110.
    Other,
}

impl StatusClass {
    /// The class of `status`.
    pub const fn of(status: u16) -> Self {
        match status / 100 {
            1 => StatusClass::Informational,
            2 => StatusClass::Successful,
            3 => StatusClass::Redirection,
            4 => StatusClass::ClientError,
            5 => StatusClass::ServerError,
            _ => StatusClass::Other,
        }
    }

    /// `1xx` … `5xx`, `other`.
    pub const fn name(self) -> &'static str {
        match self {
            StatusClass::Informational => "1xx",
            StatusClass::Successful => "2xx",
            StatusClass::Redirection => "3xx",
            StatusClass::ClientError => "4xx",
            StatusClass::ServerError => "5xx",
            StatusClass::Other => "other",
        }
    }

    /// Whether the response reports an error: what `event.outcome` and `event.type` follow.
    pub const fn is_error(status: u16) -> bool {
        status >= 400
    }
}

#[cfg(test)]
mod tests {
    use super::StatusClass;

    #[test]
    fn classes() {
        for (status, name, error) in [
            (100, "1xx", false),
            (101, "1xx", false),
            (204, "2xx", false),
            (304, "3xx", false),
            (400, "4xx", true),
            (599, "5xx", true),
            (600, "other", true),
            (999, "other", true),
            (99, "other", false),
        ] {
            assert_eq!(
                (
                    StatusClass::of(status).name(),
                    StatusClass::is_error(status)
                ),
                (name, error)
            );
        }
    }
}
