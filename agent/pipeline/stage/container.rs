//! `container`, of ours: the prefix of a container's log, whichever runtime wrote it.
//!
//! A CRI line begins with a date, a record of docker's json-file driver with a brace. The shipped configuration uses
//! this stage, so that one file serves both kinds of node. A line with neither prefix goes on as it is, and is entered
//! in the books: no runtime wrote it, or not all of it.

use super::cri::{Cri, CriConfig};
use super::docker::{Docker, DockerConfig};
use super::{Flow, Held, Keeper, Kept, Rebound, Run, StageConfig, When};
use crate::diagnostic::Diagnostics;
use crate::pipeline::{Context, ReasonId, Record, Scope, Slot};
use crate::yaml::{Fields, Node};

#[derive(Debug, PartialEq)]
pub struct ContainerConfig {}

impl StageConfig for ContainerConfig {
    type Stage = Container;

    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        Fields::new(node, "the `container` stage", diagnostics)?.finish(diagnostics);
        Some(ContainerConfig {})
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<Container> {
        let (cri, docker) = (CriConfig::default().compile(scope)?, DockerConfig {}.compile(scope)?);
        Some(Container { cri, docker, refused: scope.reason("no_container_prefix") })
    }
}

pub struct Container {
    cri: Cri,
    docker: Docker,
    refused: ReasonId,
}

impl Run for Container {
    #[inline]
    fn process(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Flow {
        let flow = self.cri.read_usual(record).or_else(|| match record.line().first() {
            Some(b'{') => self.docker.read(record, context),
            _ => self.cri.read_any(record, context),
        });
        flow.unwrap_or_else(|| {
            record.refuse(self.refused);
            Flow::Next
        })
    }

    fn narrow(&mut self, is_read: &dyn Fn(Slot) -> bool) {
        self.cri.narrow(is_read);
        self.docker.narrow(is_read);
    }

    fn due(&self, when: When) -> Option<Held> {
        self.cri.due(when).or_else(|| self.docker.due(when))
    }

    fn release(&mut self, when: When, record: &mut Record<'_>) {
        match self.cri.due(when) {
            Some(_) => self.cri.release(when, record),
            None => self.docker.release(when, record),
        }
    }

    fn keep(&self, keeper: &mut Keeper<'_>) {
        self.cri.keep(keeper);
        self.docker.keep(&mut keeper.upper_half());
    }

    fn restore(&mut self, kept: Kept<'_>, rebound: &mut Rebound<'_>) {
        let (cri, docker) = kept.halves();
        self.cri.restore(cri, rebound);
        self.docker.restore(docker, rebound);
    }
}
