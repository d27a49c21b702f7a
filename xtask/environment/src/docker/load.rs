//! Getting an image into the engine.

use super::{Docker, transfer};
use crate::{
    Launch,
    image::{Image, ImageFormat},
};
use anyhow::{Result, bail};
use bollard::{body_try_stream, errors::Error, query_parameters::ImportImageOptionsBuilder};
use futures_util::StreamExt;
use store::hinted;

impl Docker {
    /// The ID under which the engine has the image; it is loaded if the engine has it not. Errors: the engine's; another image
    /// has the name; the engine ends with an ID that was not foreseen.
    pub(super) fn load(&self, launch: &Launch, image: &Image) -> Result<String> {
        let ids = image.ids();
        if let Some(id) = self.known(&ids)? {
            return Ok(id);
        }
        // Two processes would send the same gigabytes twice.
        let _lock = launch.store.lock_work(
            &ids[0]["sha256:".len()..],
            &format!("the image of `{}`", launch.environment.name),
            launch.progress,
        )?;
        if let Some(id) = self.known(&ids)? {
            return Ok(id);
        }
        if let Some(id) = self.id(&image.name)? {
            bail!(hinted(
                format!("the engine at {} has another image by the name of {} ({id})", self.url, image.name),
                format!("`docker image rm {}` removes it", image.name)
            ));
        }
        transfer::send(
            |out| image.write(launch.store, ImageFormat::Docker, out, launch.progress),
            |stream| {
                self.runtime.block_on(async {
                    let options = ImportImageOptionsBuilder::new().quiet(true).build();
                    let mut answers =
                        Box::pin(self.engine.import_image(options, body_try_stream(stream), None));
                    while let Some(answer) = answers.next().await {
                        answer.map_err(|error| self.explain("load the image", error))?;
                    }
                    Ok(())
                })
            },
        )?;
        match self.known(&ids)? {
            Some(id) => Ok(id),
            None => bail!(hinted(
                format!(
                    "the engine at {} gave the image {} the ID {}, not {}",
                    self.url,
                    image.name,
                    self.id(&image.name)?.as_deref().unwrap_or("of nothing"),
                    ids.join(" or ")
                ),
                "it changes images while it loads them, and its containers would not be the environment; use `--backend sandbox`, and report this with `docker version`"
            )),
        }
    }

    fn known(&self, ids: &[String]) -> Result<Option<String>> {
        for id in ids {
            if self.id(id)?.as_ref() == Some(id) {
                return Ok(Some(id.clone()));
            }
        }
        Ok(None)
    }

    /// The ID of the image that the engine knows by a name or ID.
    fn id(&self, name: &str) -> Result<Option<String>> {
        match self.runtime.block_on(self.engine.inspect_image(name)) {
            Ok(found) => Ok(found.id.map(|id| match id.starts_with("sha256:") {
                true => id,
                // podman leaves it out.
                false => format!("sha256:{id}"),
            })),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(self.explain("look for the image", error)),
        }
    }
}
