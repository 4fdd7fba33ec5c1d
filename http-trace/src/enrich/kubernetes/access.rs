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
use yaml_serde::Value;

use crate::enrich::choice::NamesFrom;

/// Where the kubelet mounts a pod's token and the cluster's certificate
/// (kubernetes.io/docs/tasks/run-application/access-api-from-pod).
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Where credentials come from.
#[derive(Clone, Debug)]
pub enum CredentialSource {
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

impl CredentialSource {
    /// Finds the source, if there is a server to query.
    pub fn find(choice: &NamesFrom) -> Option<Self> {
        match choice {
            NamesFrom::Off => None,
            NamesFrom::At(path) => Some(CredentialSource::File(path.clone())),
            NamesFrom::Usual => {
                let [host, port] =
                    ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"].map(env::var);
                let (host, port) = (host.ok()?, port.ok()?);
                let folder = PathBuf::from(SERVICE_ACCOUNT);
                // Without a mounted token, pods are silently not named.
                folder.join("token").exists().then_some(())?;
                let host = if host.contains(':') { format!("[{host}]") } else { host };
                Some(CredentialSource::ServiceAccount(folder, format!("https://{host}:{port}")))
            }
        }
    }

    /// Reads the current credentials.
    pub fn read(&self) -> Result<Access, String> {
        match self {
            CredentialSource::ServiceAccount(folder, server) => Ok(Access {
                server: server.clone(),
                tls: tls(Some(&bytes(&folder.join("ca.crt"))?), None, false)?,
                token: Some(text(&folder.join("token"))?),
            }),
            CredentialSource::File(path) => {
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
    client: Option<(Vec<u8>, Vec<u8>)>,
    insecure: bool,
) -> Result<TlsConfig, String> {
    let roots = match authority {
        Some(pem) => RootCerts::new_with_certs(&certificates(pem)?),
        None => RootCerts::PlatformVerifier,
    };
    let client = match client {
        Some((chain, key)) => {
            let key = PrivateKey::from_pem(&key).map_err(|error| format!("client key: {error}"))?;
            Some(ClientCert::new_with_certs(&certificates(&chain)?, key))
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
    if found.is_empty() { Err("no certificate found".to_owned()) } else { Ok(found) }
}

/// The needed parts of a kubeconfig file (k8s.io/client-go clientcmd/api/v1).
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Kubeconfig {
    current_context: String,
    contexts: Vec<Named>,
    clusters: Vec<Named>,
    users: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default, alias = "context", alias = "cluster", alias = "user")]
    members: Members,
}

type Members = BTreeMap<String, Value>;

fn named<'a>(list: &'a [Named], name: &str) -> Option<&'a Members> {
    list.iter().find(|one| one.name == name).map(|one| &one.members)
}

fn member<'a>(of: &'a Members, name: &str) -> Result<Option<&'a str>, String> {
    match of.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("invalid kubeconfig: '{name}' is no text")),
    }
}

impl Kubeconfig {
    fn access(&self, folder: &Path) -> Result<Access, String> {
        let name = &self.current_context;
        let context = named(&self.contexts, name).ok_or(format!("no context '{name}'"))?;
        let name = member(context, "cluster")?.unwrap_or_default();
        let cluster = named(&self.clusters, name).ok_or(format!("no cluster '{name}'"))?;
        // Left out in silence, these would lead to another server or another user.
        for member in ["tls-server-name", "proxy-url"] {
            if cluster.contains_key(member) {
                return Err(format!("'{member}' of cluster '{name}' is not supported"));
            }
        }
        let name = member(context, "user")?.unwrap_or_default();
        let nobody = Members::new();
        let user = named(&self.users, name).unwrap_or(&nobody);
        for member in ["exec", "auth-provider", "username", "password", "as"] {
            if user.contains_key(member) {
                return Err(format!(
                    "'{member}' of user '{name}' is not supported; want a token or a certificate"
                ));
            }
        }
        let either = |of: &Members, name: &str| match member(of, &format!("{name}-data"))? {
            Some(data) => {
                STANDARD.decode(data.trim()).map(Some).map_err(|error| format!("base64: {error}"))
            }
            None => member(of, name)?.map(|path| bytes(&folder.join(path))).transpose(),
        };
        let authority = either(cluster, "certificate-authority")?;
        let chain = either(user, "client-certificate")?;
        let client = chain.zip(either(user, "client-key")?);
        // A file is read each time, as its token is replaced before it expires.
        let token = match member(user, "tokenFile")? {
            Some(path) => Some(text(&folder.join(path))?),
            None => member(user, "token")?.map(str::to_owned),
        };
        let server = member(cluster, "server")?.ok_or("invalid kubeconfig: no 'server'")?;
        const INSECURE: &str = "insecure-skip-tls-verify";
        let insecure = match cluster.get(INSECURE) {
            None => false,
            Some(value) => {
                value.as_bool().ok_or(format!("invalid kubeconfig: '{INSECURE}' is no Boolean"))?
            }
        };
        Ok(Access {
            server: server.trim_end_matches('/').to_owned(),
            tls: tls(authority.as_deref(), client, insecure)?,
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
        CredentialSource::File(path).read()
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
            ("token: sesame", "token: 7", "invalid kubeconfig: 'token' is no text"),
            ("server: 'https://10.0.0.1:6443/'", "x: y", "invalid kubeconfig: no 'server'"),
            ("server:", "insecure-skip-tls-verify: 1, server:", "is no Boolean"),
            (FILE, "\u{0}", "invalid kubeconfig"),
        ] {
            let error = read(&FILE.replace(from, to)).expect_err(to);
            assert!(error.contains(why), "{error}");
        }
        let none = CredentialSource::File("/nowhere/config".into()).read();
        assert!(none.expect_err("there is none").contains("/nowhere/config: No such file"));
    }
}
