//! Trees of logs as a node has them, in a temporary folder, from the excerpts.

use super::corpus;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub const D1_POD: &str = "ingress-nginx_ingress-nginx-controller-abc12_bd5d8364-d042-4471-a625-553962f4ad7f";
pub const D2_POD: &str = "ingress-nginx_ingress-nginx-controller-6c4f9b7d5-x8k2p_585292d4-f356-4406-a41a-4d8a2e980008";

/// The container of D1's controller.
pub const DOCKER_ID: &str = "5481b4d50f20be3ae4a9ce6548b78a0d6ac905dc7d4489ee2811a75cade2ad27";

pub struct Node {
    folder: TempDir,
}

impl Node {
    pub fn new() -> Node {
        Node { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// `/var/log/pods`.
    pub fn pods(&self) -> PathBuf {
        self.folder.path().join("pods")
    }

    /// A place beside the logs.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a log of a pod's container `controller`.
    pub fn log(&self, pod: &str, file: &str, bytes: &[u8]) {
        fs::write(self.container(pod).join(file), bytes).expect("a log");
    }

    /// Lets a pod's log be a link to docker's file, as cri-dockerd does.
    pub fn link(&self, pod: &str, file: &Path) {
        symlink(file, self.container(pod).join("0.log")).expect("a link");
    }

    fn container(&self, pod: &str) -> PathBuf {
        let folder = self.pods().join(pod).join("controller");
        fs::create_dir_all(&folder).expect("a folder of a container");
        folder
    }

    /// The demo's two controllers, D1 rotated once in the middle.
    pub fn demo() -> Node {
        let node = Node::new();
        let folder = corpus::excerpt("demo");
        let first = corpus::read(&folder.join("controller-d1.cri.gz"));
        let middle = first.len() / 2 + first[first.len() / 2..].iter().position(|b| *b == b'\n').expect("lines") + 1;
        node.log(D1_POD, "0.log.20261121-022602", &first[..middle]);
        node.log(D1_POD, "0.log", &first[middle..]);
        node.log(D2_POD, "0.log", &corpus::read(&folder.join("controller-d2.cri.gz")));
        node
    }

    /// The excerpt in the text format, as D2's controller.
    pub fn text() -> Node {
        let node = Node::new();
        node.log(D2_POD, "0.log", &corpus::read(&corpus::excerpt("text").join("controller.cri.gz")));
        node
    }

    /// The excerpt of docker's files, either side of a rotation, as D1's controller.
    pub fn docker() -> Node {
        let node = Node::new();
        let folder = node.path("containers").join(DOCKER_ID);
        fs::create_dir_all(&folder).expect("docker's folder");
        for name in [format!("{DOCKER_ID}-json.log"), format!("{DOCKER_ID}-json.log.1.gz")] {
            fs::copy(corpus::excerpt("docker").join(&name), folder.join(&name)).expect("a copy");
        }
        node.link(D1_POD, &folder.join(format!("{DOCKER_ID}-json.log")));
        node
    }
}
