//! *I/O*: address and credentials of the API server: this pod's service account, or a kubeconfig file. Read
//! again for each request, because tokens are rotated about hourly.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::enrich::choice::ApiServer;

/// Where the kubelet mounts a pod's token and the cluster's certificate
/// (kubernetes.io/docs/tasks/run-application/access-api-from-pod).
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Where credentials come from.
#[derive(Clone, Debug)]
pub enum Place {
    /// Folder of this pod's service account, and URL of the server.
    ServiceAccount(PathBuf, String),
    File(PathBuf),
}

/// What is needed to query a server.
pub struct Access {
    /// `https://10.0.0.1:443`
    pub server: String,
    /// CA and client certificate.
    pub tls: TlsConfig,
    pub token: Option<String>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Access to {}", self.server)
    }
}

impl Place {
    /// Finds the source, if there is a server to query.
    pub fn find(choice: &ApiServer) -> Option<Self> {
        match choice {
            ApiServer::Off => None,
            ApiServer::Of(path) => Some(Place::File(path.clone())),
            ApiServer::OfPod => {
                let [host, port] =
                    ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"].map(env::var);
                let (host, port) = (host.ok()?, port.ok()?);
                let folder = PathBuf::from(SERVICE_ACCOUNT);
                // Without a mounted token, pods are silently not named.
                folder.join("token").exists().then_some(())?;
                let host = if host.contains(':') { format!("[{host}]") } else { host };
                Some(Place::ServiceAccount(folder, format!("https://{host}:{port}")))
            }
        }
    }

    /// Reads the current credentials.
    pub fn read(&self) -> Result<Access, String> {
        match self {
            Place::ServiceAccount(folder, server) => Ok(Access {
                server: server.clone(),
                tls: tls(Some(&bytes(&folder.join("ca.crt"))?), None, false)?,
                token: Some(text(&folder.join("token"))?),
            }),
            Place::File(path) => {
                let file: Kubeconfig = yaml_serde::from_str(&text(path)?)
                    .map_err(|error| format!("{}: invalid kubeconfig: {error}", path.display()))?;
                let folder = path.parent().unwrap_or(Path::new(""));
                let access = file.access(folder);
                access.map_err(|why| format!("{}: {why}", path.display()))
            }
        }
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn text(path: &Path) -> Result<String, String> {
    let text = String::from_utf8(bytes(path)?);
    let text = text.map_err(|_| format!("{}: not UTF-8", path.display()))?;
    Ok(text.trim().to_owned())
}

fn tls(
    authority: Option<&[u8]>,
    client: Option<(&[u8], &[u8])>,
    insecure: bool,
) -> Result<TlsConfig, String> {
    let roots = match authority {
        Some(pem) => RootCerts::new_with_certs(&certificates(pem)?),
        None => RootCerts::PlatformVerifier,
    };
    let client = match client {
        Some((chain, key)) => {
            let key = PrivateKey::from_pem(key).map_err(|error| format!("client key: {error}"))?;
            Some(ClientCert::new_with_certs(&certificates(chain)?, key))
        }
        None => None,
    };
    let tls = TlsConfig::builder().root_certs(roots).client_cert(client);
    Ok(tls.disable_verification(insecure).build())
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate<'static>>, String> {
    let mut found = Vec::new();
    for item in parse_pem(pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(format!("certificate: {error}")),
        }
    }
    match found.is_empty() {
        true => Err("no certificate found".to_owned()),
        false => Ok(found),
    }
}

/// The needed parts of a kubeconfig file (k8s.io/client-go clientcmd/api/v1).
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Kubeconfig {
    current_context: String,
    contexts: Vec<NamedContext>,
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    #[serde(default)]
    user: String,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    #[serde(default)]
    insecure_skip_tls_verify: bool,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    #[serde(flatten)]
    others: BTreeMap<String, yaml_serde::Value>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    #[serde(default)]
    user: User,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct User {
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    #[serde(flatten)]
    others: BTreeMap<String, yaml_serde::Value>,
}

impl Kubeconfig {
    fn access(self, folder: &Path) -> Result<Access, String> {
        let name = &self.current_context;
        let context = self.contexts.iter().find(|one| one.name == *name);
        let context = &context.ok_or(format!("no context '{name}'"))?.context;
        let of = |one: &&NamedCluster| one.name == context.cluster;
        let cluster = self.clusters.iter().find(of);
        let cluster = cluster.ok_or(format!("no cluster '{}'", context.cluster))?;
        let cluster = &cluster.cluster;
        let user = self.users.into_iter().find(|one| one.name == context.user);
        let user = user.map(|one| one.user).unwrap_or_default();
        // Left out in silence, these would lead to another server or another user.
        for member in ["exec", "auth-provider", "username", "password", "as"] {
            if user.others.contains_key(member) {
                return Err(format!(
                    "'{member}' of user '{}' is not supported; want a token or a certificate",
                    context.user
                ));
            }
        }
        for member in ["tls-server-name", "proxy-url"] {
            if cluster.others.contains_key(member) {
                let name = &context.cluster;
                return Err(format!("'{member}' of cluster '{name}' is not supported"));
            }
        }
        let either = |data: &Option<String>, file: &Option<PathBuf>| match (data, file) {
            (Some(data), _) => {
                STANDARD.decode(data.trim()).map(Some).map_err(|error| format!("base64: {error}"))
            }
            (None, Some(path)) => bytes(&folder.join(path)).map(Some),
            (None, None) => Ok(None),
        };
        let authority =
            either(&cluster.certificate_authority_data, &cluster.certificate_authority)?;
        let chain = either(&user.client_certificate_data, &user.client_certificate)?;
        let key = either(&user.client_key_data, &user.client_key)?;
        let client = match (&chain, &key) {
            (Some(chain), Some(key)) => Some((&chain[..], &key[..])),
            _ => None,
        };
        // A file is read each time, as its token is replaced before it expires.
        let token = match &user.token_file {
            Some(path) => Some(text(&folder.join(path))?),
            None => user.token,
        };
        Ok(Access {
            server: cluster.server.trim_end_matches('/').to_owned(),
            tls: tls(authority.as_deref(), client, cluster.insecure_skip_tls_verify)?,
            token,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
apiVersion: v1
kind: Config
current-context: here
contexts:
- {name: here, context: {cluster: c, user: u, namespace: x}}
clusters:
- name: c
  cluster: {server: 'https://10.0.0.1:6443/'}
users:
- name: u
  user: {token: sesame}
";

    fn read(text: &str) -> Result<Access, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config");
        fs::write(&path, text).expect("written");
        fs::write(folder.path().join("token"), "of a file\n").expect("written");
        Place::File(path).read()
    }

    #[test]
    fn a_kubeconfig_says_where_and_by_what_right() {
        let access = read(FILE).expect("access");
        assert_eq!(access.server, "https://10.0.0.1:6443");
        assert_eq!(access.token.as_deref(), Some("sesame"));
        let access = read(&FILE.replace("token: sesame", "tokenFile: token")).expect("access");
        assert_eq!(access.token.as_deref(), Some("of a file"));
        assert!(!format!("{access:?}").contains("of a file"), "no secret is shown");
    }

    #[test]
    fn a_broken_one_says_what_is_wrong() {
        for (from, to, why) in [
            ("current-context: here", "current-context: there", "no context 'there'"),
            ("cluster: c,", "cluster: d,", "no cluster 'd'"),
            ("token: sesame", "tokenFile: none", "none: No such file"),
            ("token: sesame", "exec: {command: aws}", "'exec' of user 'u' is not supported"),
            ("server:", "certificate-authority-data: '!', server:", "base64"),
            ("server:", "certificate-authority-data: 'YQ==', server:", "no certificate found"),
            ("server:", "certificate-authority: missing, server:", "missing: No such file"),
            ("clusters:", "clusters: 7 #", "invalid kubeconfig"),
            (FILE, "\u{0}", "invalid kubeconfig"),
        ] {
            let error = read(&FILE.replace(from, to)).expect_err(to);
            assert!(error.contains(why), "{error}");
        }
        let none = Place::File("/nowhere/config".into()).read();
        assert!(none.expect_err("there is none").contains("/nowhere/config: No such file"));
    }
}
