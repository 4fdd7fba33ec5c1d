//! Which sources of names are used, according to the settings. Uses none of them.

use std::convert::Infallible;
use std::path::PathBuf;

/// Where a source of names is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamesFrom {
    /// In its usual place, if it is there.
    Usual,
    At(PathBuf),
    Off,
}

impl NamesFrom {
    /// The API server: in a pod with a service account that of the cluster, or of a kubeconfig file. Any text
    /// but `auto` and `off` is a path.
    pub fn api_server(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "auto" => NamesFrom::Usual,
            "off" => NamesFrom::Off,
            path => NamesFrom::At(path.into()),
        })
    }

    /// The socket of a container runtime.
    pub fn cri_socket(text: &str) -> Result<Self, &'static str> {
        let path = text.strip_prefix("unix://").unwrap_or(text);
        match text {
            "auto" => Ok(NamesFrom::Usual),
            "off" => Ok(NamesFrom::Off),
            _ if path.starts_with('/') => Ok(NamesFrom::At(path.into())),
            _ => Err("auto, off, or the path of a socket, such as /run/containerd/containerd.sock"),
        }
    }
}
