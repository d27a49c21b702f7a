//! Containers and volumes of ours, by their labels: what a process leaves behind is removed by itself when it is interrupted,
//! and by the next one when it was killed.

use bollard::{
    Docker,
    query_parameters::{
        ListContainersOptionsBuilder, ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder,
        RemoveVolumeOptionsBuilder,
    },
};
use std::collections::HashMap;
use store::Owner;

const LABEL: &str = "mlc-repro.owner";

/// What containers and volumes of ours bear.
pub(super) fn labels(owner: &Owner) -> HashMap<String, String> {
    HashMap::from([(LABEL.to_owned(), owner.to_string())])
}

/// Removes every container and volume of this process. Best effort: the next process tries again.
pub(super) async fn remove_own(engine: &Docker, owner: &Owner) {
    remove(engine, &|found| found == owner).await;
}

/// As [`remove_own`], for processes that have ended without it.
pub(super) async fn remove_those_of_the_dead(engine: &Docker, this: &Owner) {
    remove(engine, &|found| found != this && found.is_dead()).await;
}

async fn remove(engine: &Docker, wanted: &(dyn Fn(&Owner) -> bool + Sync)) {
    let filters = HashMap::from([("label", vec![LABEL])]);
    let is_wanted = |labels: Option<&HashMap<String, String>>| {
        labels.and_then(|labels| labels.get(LABEL)).is_some_and(|label| wanted(&Owner::parse(label)))
    };
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    for container in engine.list_containers(Some(options)).await.unwrap_or_default() {
        if let (true, Some(id)) = (is_wanted(container.labels.as_ref()), &container.id) {
            remove_container(engine, id).await;
        }
    }
    let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
    let volumes = engine.list_volumes(Some(options)).await.ok().and_then(|found| found.volumes);
    for volume in volumes.unwrap_or_default() {
        if is_wanted(Some(&volume.labels)) {
            remove_volume(engine, &volume.name).await;
        }
    }
}

/// Kills and removes a container. Where that fails, its label stays for the next process.
pub(super) async fn remove_container(engine: &Docker, id: &str) {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    let _ = engine.remove_container(id, Some(options)).await;
}

pub(super) async fn remove_volume(engine: &Docker, name: &str) {
    let options = RemoveVolumeOptionsBuilder::new().force(true).build();
    let _ = engine.remove_volume(name, Some(options)).await;
}
