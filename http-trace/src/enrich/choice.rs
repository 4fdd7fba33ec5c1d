//! Which sources of names are asked, as settings have it. Asks none.

use std::path::PathBuf;

/// Which API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiServer {
    /// That of the cluster, in a pod with a service account; none elsewhere.
    OfPod,
    /// That of this kubeconfig file.
    Of(PathBuf),
    /// None.
    Off,
}

impl ApiServer {
    /// `auto`, `off`, or a path.
    ///
    /// # Errors
    /// Never: whatever is no word is a path.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        Ok(match text {
            "auto" => ApiServer::OfPod,
            "off" => ApiServer::Off,
            path => ApiServer::Of(path.into()),
        })
    }
}

/// Which socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CriSocket {
    /// The first that there is where runtimes have theirs.
    Usual,
    /// This one.
    At(PathBuf),
    /// None.
    Off,
}

impl CriSocket {
    /// `auto`, `off`, or a path.
    ///
    /// # Errors
    /// What is wanted.
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
