//! *I/O*: names containers from files of their runtimes: name, image, pod. Files exist for podman and docker
//! too, which have no CRI socket, need no timeout, and reading them gives no control over the runtime.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use http_trace_model::process::{Container, Pod};
use serde::Deserialize;
use serde_json::Value as Json;

use super::directory::Named;

/// Larger files are not read: the file of a container is about 50 KB, a store of 1,000 containers 1 MB.
const LARGEST: u64 = 16 << 20;
/// Maximum number of remembered containers.
const MOST: usize = 4096;
/// How long a container is remembered: it may be renamed. Docker's are read again at once then.
const FRESH: Duration = Duration::from_secs(60);
/// How long a container that is in no file is remembered as unknown.
const UNKNOWN: Duration = Duration::from_secs(2);

/// Default stores of podman and CRI-O (containers-storage.conf(5)): persistent, and until the next boot.
const STORES: [&str; 2] = ["var/lib/containers/storage", "run/containers/storage"];
/// Paths of that configuration, the administrator's first.
const STORE_CONFIGS: [&str; 2] =
    ["etc/containers/storage.conf", "usr/share/containers/storage.conf"];
/// Default data directories of docker, as a package and from snap.
const DOCKER: [&str; 2] = ["var/lib/docker", "var/snap/docker/common/var-lib-docker"];
/// Bundles of running containers of containerd, by namespace; standalone and in k3s.
const CONTAINERD: [&str; 2] = [
    "run/containerd/io.containerd.runtime.v2.task",
    "run/k3s/containerd/io.containerd.runtime.v2.task",
];
/// State files of low-level runtimes, which name the bundle.
const STATES: [(&str, &str); 2] = [("run/runc", "state.json"), ("run/crun", "status")];

/// Files of container runtimes.
#[derive(Debug)]
pub struct Runtimes {
    root: PathBuf,
    stores: Vec<PathBuf>,
    docker: Vec<PathBuf>,
    /// What was found of a container, until when it is remembered, and when docker last wrote its file.
    known: HashMap<Box<str>, (Option<Named>, Instant, Option<SystemTime>)>,
}

impl Runtimes {
    /// Finds the files on this host.
    pub fn of_this_host() -> Self {
        Runtimes::below(Path::new("/"))
    }

    fn below(root: &Path) -> Self {
        let mut stores: Vec<PathBuf> = STORES.map(|place| root.join(place)).into();
        for place in STORE_CONFIGS.map(|place| root.join(place)) {
            if let Some(text) = read_text(&place) {
                stores.extend(stores_of(&text).iter().map(|path| under(root, path)));
                break;
            }
        }
        let mut docker: Vec<PathBuf> = DOCKER.map(|place| root.join(place)).into();
        let config = read_json::<Json>(&root.join("etc/docker/daemon.json"));
        let data_root = config.as_ref().and_then(|config| config["data-root"].as_str());
        docker.extend(data_root.map(|path| under(root, Path::new(path))));
        Runtimes { root: root.to_owned(), stores, docker, known: HashMap::new() }
    }

    fn folders(&self) -> impl Iterator<Item = PathBuf> {
        let of_docker = self.docker.iter().map(|place| place.join("containers"));
        let of_containerd = CONTAINERD.iter().map(|place| self.root.join(place));
        self.stores.iter().cloned().chain(of_docker).chain(of_containerd)
    }

    /// A folder of a runtime that this process may not read.
    pub fn unreadable(&self) -> Option<PathBuf> {
        let refused = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        self.folders().find(|place| fs::read_dir(place).is_err_and(refused))
    }

    /// Whether no runtime has a folder here.
    pub fn are_absent(&self) -> bool {
        let absent = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
        self.folders().all(|place| fs::read_dir(place).is_err_and(absent))
    }

    /// Looks up a container.
    pub fn find(&mut self, container: &Container) -> Option<Named> {
        let id = &container.id;
        let now = Instant::now();
        let is_id = id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
        let written = is_id.then(|| self.written(id)).flatten();
        if let Some((named, until, then)) = self.known.get(id)
            && now < *until
            && *then == written
        {
            return named.clone();
        }
        let named = is_id.then(|| self.read(container)).flatten();
        if self.known.len() >= MOST {
            self.known.clear();
        }
        let time = if named.is_some() { FRESH } else { UNKNOWN };
        self.known.insert(id.clone(), (named.clone(), now + time, written));
        named
    }

    /// When docker last wrote its file about a container.
    fn written(&self, id: &str) -> Option<SystemTime> {
        let mut files = self.docker.iter().map(|root| docker_file(root, id));
        files.find_map(|file| fs::metadata(file).and_then(|file| file.modified()).ok())
    }

    fn read(&self, container: &Container) -> Option<Named> {
        let id = &*container.id;
        let all: &[fn(&Self, &str) -> Option<Named>] = match container.runtime {
            Some("podman" | "cri-o") => &[Self::of_store],
            Some("docker") => &[Self::of_docker],
            Some("containerd") => &[Self::of_containerd],
            _ => &[Self::of_containerd, Self::of_docker, Self::of_store],
        };
        // An entry without a name adds nothing to the cgroup path: containerd also runs docker's containers.
        let says = |named: &Named| named.container.name.is_some() || named.pod.is_some();
        all.iter().find_map(|of| of(self, id).filter(says))
    }

    /// Looks in the stores of podman and CRI-O.
    fn of_store(&self, id: &str) -> Option<Named> {
        let folders = self.stores.iter().flat_map(|store| {
            let entries = fs::read_dir(store).into_iter().flatten().flatten();
            let of_driver = |path: &PathBuf| path.to_string_lossy().ends_with("-containers");
            entries.map(|entry| entry.path()).filter(of_driver)
        });
        // A store that is not configured, as with `podman --root`.
        let bundle = || {
            STATES.iter().find_map(|(folder, file)| {
                let state = self.root.join(folder).join(id).join(file);
                let state = read_json::<Json>(&state)?;
                let folder = Path::new(bundle(&state)?).ancestors().nth(2)?;
                Some(under(&self.root, folder))
            })
        };
        folders
            .chain(std::iter::once_with(bundle).flatten())
            .find_map(|folder| {
                ["containers.json", "volatile-containers.json"]
                    .iter()
                    .filter_map(|name| read_json::<Vec<Stored>>(&folder.join(name)))
                    .find_map(|all| all.into_iter().find(|one| one.id == id))
            })
            .map(|stored| stored.named(id))
    }

    fn of_docker(&self, id: &str) -> Option<Named> {
        self.docker
            .iter()
            .find_map(|root| Some(read_json::<Docker>(&docker_file(root, id))?.named(id)))
    }

    fn of_containerd(&self, id: &str) -> Option<Named> {
        CONTAINERD.iter().find_map(|place| {
            let namespaces = fs::read_dir(self.root.join(place)).ok()?;
            namespaces.flatten().find_map(|namespace| {
                let file = namespace.path().join(id).join("config.json");
                Some(read_json::<Bundle>(&file)?.named(id))
            })
        })
    }
}

fn docker_file(root: &Path, id: &str) -> PathBuf {
    root.join("containers").join(id).join("config.v2.json")
}

/// A path of the host, relative to another root in tests.
fn under(root: &Path, path: &Path) -> PathBuf {
    if path.starts_with(root) {
        return path.to_owned();
    }
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// At most [`LARGEST`] bytes of a file.
fn open(path: &Path) -> Option<io::Take<fs::File>> {
    let file = fs::File::open(path).ok()?;
    // Reading a pipe might never end.
    file.metadata().ok().filter(fs::Metadata::is_file)?;
    Some(file.take(LARGEST))
}

fn read_text(path: &Path) -> Option<String> {
    io::read_to_string(open(path)?).ok()
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Option<T> {
    serde_json::from_reader(io::BufReader::new(open(path)?)).ok()
}

/// The paths configured in containers-storage.conf(5).
fn stores_of(text: &str) -> Vec<PathBuf> {
    let file: toml::Table = text.parse().unwrap_or_default();
    let place = |name| Some(PathBuf::from(file.get("storage")?.get(name)?.as_str()?));
    ["graphroot", "runroot"].into_iter().filter_map(place).collect()
}

fn some(text: String) -> Option<Box<str>> {
    (!text.is_empty()).then(|| text.into())
}

/// An entry of `containers.json` of containers/storage.
#[derive(Deserialize)]
struct Stored {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    /// JSON whose format depends on the creator.
    #[serde(default)]
    metadata: String,
}

/// Metadata written by podman and CRI-O.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Metadata {
    image_name: String,
    name: String,
    /// CRI-O: the name within the pod.
    metadata_name: String,
    pod_id: String,
    uid: String,
    namespace: String,
}

impl Stored {
    fn named(self, id: &str) -> Named {
        let metadata: Metadata = serde_json::from_str(&self.metadata).unwrap_or_default();
        let is_cri = !metadata.pod_id.is_empty();
        // Renaming changes only the list.
        let name = match is_cri {
            true => some(metadata.metadata_name),
            false => self.names.into_iter().find_map(some),
        };
        let container = Container {
            id: id.into(),
            runtime: is_cri.then_some("cri-o"),
            name: name.or_else(|| some(metadata.name)),
            image: some(metadata.image_name),
        };
        // CRI-O stores the name of the pod under another id.
        Named { container, pod: None }
    }
}

/// `config.v2.json` of docker.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Docker {
    #[serde(default)]
    name: String,
    config: DockerImage,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    #[serde(default)]
    image: String,
}

impl Docker {
    fn named(self, id: &str) -> Named {
        let name = self.name.trim_start_matches('/').to_owned();
        Named {
            container: Container {
                id: id.into(),
                runtime: Some("docker"),
                name: some(name),
                image: some(self.config.image),
            },
            pod: None,
        }
    }
}

/// `config.json` of an OCI bundle, as containerd writes it.
#[derive(Deserialize)]
struct Bundle {
    #[serde(default)]
    annotations: HashMap<String, String>,
}

impl Bundle {
    fn named(mut self, id: &str) -> Named {
        let mut take = |name: &str| self.annotations.remove(name).and_then(some);
        // Annotations by the kubelet (containerd's pkg/cri/annotations), and by nerdctl.
        let mut cri = |name: &str| take(&format!("io.kubernetes.cri.{name}"));
        let pod = cri("sandbox-uid").map(|uid| Pod {
            uid,
            name: cri("sandbox-name"),
            namespace: cri("sandbox-namespace"),
            ..Pod::default()
        });
        let (name, image) = (cri("container-name"), cri("image-name"));
        Named {
            container: Container {
                id: id.into(),
                runtime: Some("containerd"),
                name: name.or_else(|| take("nerdctl/name")),
                image,
            },
            pod,
        }
    }
}

/// The bundle that a state file of crun or runc names.
fn bundle(state: &Json) -> Option<&str> {
    let labels = state.pointer("/config/labels").and_then(Json::as_array);
    let mut labels = labels.into_iter().flatten().filter_map(Json::as_str);
    let of_runc = || labels.find_map(|label| label.strip_prefix("bundle="));
    state["bundle"].as_str().or_else(of_runc)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "aa1a2b23c4053da9e33cb329e1accd234aed71c649a8eea94d23c1683f1493b7";

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path.replace("ID", ID));
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text.replace("ID", ID)).expect("written");
    }

    /// Name, image, runtime and pod found in these files.
    fn found(files: &[(&str, &str)], runtime: Option<&'static str>) -> Option<[String; 4]> {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            write(root.path(), path, text);
        }
        let container = Container { id: ID.into(), runtime, ..Container::default() };
        let named = Runtimes::below(root.path()).find(&container)?;
        assert_eq!(&*named.container.id, ID);
        let text = |text: Option<Box<str>>| text.map_or_else(|| "-".to_owned(), String::from);
        let pod = named.pod.map(|pod| {
            let (name, namespace) = (text(pod.name), text(pod.namespace));
            format!("{namespace}/{name} {}", pod.uid).into()
        });
        Some([
            text(named.container.name),
            text(named.container.image),
            named.container.runtime.unwrap_or("-").to_owned(),
            text(pod),
        ])
    }

    /// As written by podman 4.3.
    const STORED: &str = r#"[{"id":"ff"},{"id":"ID","names":["web1"],"image":"de20","layer":"5e94",
        "metadata":"{\"image-name\":\"localhost/web:1.0\",\"image-id\":\"de20\",\"name\":\"old\",\"created-at\":1}",
        "created":"2026-11-23T19:34:13Z","flags":{"MountLabel":""}}]"#;

    #[test]
    fn a_folder_of_any_runtime_is_found() {
        for place in [&STORES[..], &CONTAINERD[..], &["var/lib/docker/containers"]].concat() {
            let root = tempfile::tempdir().expect("a folder");
            fs::create_dir_all(root.path().join("var/lib/containers/cache")).expect("made");
            assert!(Runtimes::below(root.path()).are_absent(), "{place}");
            fs::create_dir_all(root.path().join(place)).expect("made");
            assert!(!Runtimes::below(root.path()).are_absent(), "{place}");
        }
    }

    #[test]
    fn podman_is_found_in_each_of_its_stores() {
        let expected = Some(["web1", "localhost/web:1.0", "-", "-"].map(str::to_owned));
        let store = "var/lib/containers/storage/overlay-containers/containers.json";
        for runtime in [Some("podman"), None] {
            assert_eq!(found(&[(store, STORED)], runtime), expected);
        }
        let volatile = "run/containers/storage/vfs-containers/volatile-containers.json";
        assert_eq!(found(&[(store, "[]"), (volatile, STORED)], Some("podman")), expected);
        let config = (
            "etc/containers/storage.conf",
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"/srv/store\"\n",
        );
        let elsewhere = ("srv/store/overlay-containers/containers.json", STORED);
        assert_eq!(found(&[config, elsewhere], Some("podman")), expected);
        for state in [
            (
                "run/runc/ID/state.json",
                r#"{"config":{"labels":["a=b","bundle=/srv/store/overlay-containers/ID/userdata"]}}"#,
            ),
            (
                "run/crun/ID/status",
                r#"{"pid":7,"bundle":"/srv/store/overlay-containers/ID/userdata"}"#,
            ),
        ] {
            assert_eq!(found(&[state, elsewhere], Some("podman")), expected);
        }
        assert_eq!(found(&[elsewhere], Some("podman")), None);
    }

    #[test]
    fn containers_of_pods_have_their_name_there() {
        let of_crio = r#"[{"id":"ID","names":["k8s_app_web-7f_shop_u1_0"],"metadata":
            "{\"pod-name\":\"k8s_web-7f_shop_u1_0\",\"pod-id\":\"b\",\"image-name\":\"quay.io/web:2\",
            \"name\":\"k8s_app_web-7f_shop_u1_0\",\"metadata-name\":\"app\"}"}]"#
            .replace("\n            ", "");
        let store = "var/lib/containers/storage/overlay-containers/containers.json";
        assert_eq!(
            found(&[(store, &of_crio)], Some("cri-o")),
            Some(["app", "quay.io/web:2", "cri-o", "-"].map(str::to_owned))
        );
        let bundle = r#"{"ociVersion":"1","annotations":{"io.kubernetes.cri.container-type":"container",
            "io.kubernetes.cri.container-name":"app","io.kubernetes.cri.image-name":"quay.io/web:2",
            "io.kubernetes.cri.sandbox-name":"web-7f","io.kubernetes.cri.sandbox-namespace":"shop",
            "io.kubernetes.cri.sandbox-uid":"u1"}}"#;
        let task = "run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json";
        for runtime in [Some("containerd"), None] {
            assert_eq!(
                found(&[(task, bundle)], runtime),
                Some(["app", "quay.io/web:2", "containerd", "shop/web-7f u1"].map(str::to_owned))
            );
        }
    }

    #[test]
    fn docker_is_found_wherever_it_keeps_its_containers() {
        let record = r#"{"ID":"ID","Name":"/web","Image":"sha256:1","Config":{"Image":"nginx:1.25","Env":[]}}"#;
        let expected = Some(["web", "nginx:1.25", "docker", "-"].map(str::to_owned));
        let usual = ("var/lib/docker/containers/ID/config.v2.json", record);
        // containerd has the container too, without a name.
        let moby = (
            "run/containerd/io.containerd.runtime.v2.task/moby/ID/config.json",
            r#"{"ociVersion":"1"}"#,
        );
        assert_eq!(found(&[usual, moby], Some("docker")), expected);
        assert_eq!(found(&[usual, moby], None), expected);
        let config = ("etc/docker/daemon.json", r#"{"data-root":"/srv/docker"}"#);
        let elsewhere = ("srv/docker/containers/ID/config.v2.json", record);
        assert_eq!(found(&[config, elsewhere], Some("docker")), expected);
    }

    #[test]
    fn a_container_that_docker_renames_has_its_new_name_at_once() {
        let root = tempfile::tempdir().expect("a folder");
        let file = "var/lib/docker/containers/ID/config.v2.json";
        let record = r#"{"ID":"ID","Name":"/web","Config":{"Image":"nginx"}}"#;
        let mut runtimes = Runtimes::below(root.path());
        let container =
            Container { id: ID.into(), runtime: Some("docker"), ..Container::default() };
        let mut name = || runtimes.find(&container).and_then(|named| named.container.name);
        assert_eq!(name().as_deref(), None);
        for (seconds, expected) in [(1, "web"), (2, "shop")] {
            write(root.path(), file, &record.replace("web", expected));
            let written = fs::File::open(root.path().join(file.replace("ID", ID))).expect("there");
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            written.set_modified(time).expect("set");
            assert_eq!(name().as_deref(), Some(expected));
        }
    }

    #[test]
    fn files_that_are_none_of_theirs_name_nothing() {
        for text in ["", "{", "[]", "[{\"id\":7}]", "{\"Name\":7}", "null", "{\"annotations\":3}"] {
            for path in [
                "var/lib/containers/storage/overlay-containers/containers.json",
                "var/lib/docker/containers/ID/config.v2.json",
                "run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json",
                "run/runc/ID/state.json",
            ] {
                assert_eq!(found(&[(path, text)], None), None, "{path}: {text}");
            }
        }
    }
}
