//! Which sources of names are used, according to the settings. Uses none of them.

use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiServer {
    /// The cluster's, in a pod with a service account; otherwise none.
    OfPod,
    /// The one in this kubeconfig file.
    Of(PathBuf),
    Off,
}

impl ApiServer {
    /// Parses `auto`, `off`, or a path.
    ///
    /// # Errors
    /// None: anything else is a path.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        Ok(match text {
            "auto" => ApiServer::OfPod,
            "off" => ApiServer::Off,
            path => ApiServer::Of(path.into()),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CriSocket {
    /// The first usual path of a runtime that exists.
    Usual,
    At(PathBuf),
    Off,
}

impl CriSocket {
    /// Parses `auto`, `off`, or a path.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let path = text.strip_prefix("unix://").unwrap_or(text);
        match text {
            "auto" => Ok(CriSocket::Usual),
            "off" => Ok(CriSocket::Off),
            _ if path.starts_with('/') => Ok(CriSocket::At(path.into())),
            _ => Err("auto, off, or the path of a socket, such as /run/containerd/containerd.sock"),
        }
    }
}
