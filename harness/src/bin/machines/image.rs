//! The image of machines that are containers: made, and looked for once more.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use camino::Utf8Path;
use docker_support::Engine;
use docker_support::bollard::query_parameters::{ListImagesOptions, RemoveImageOptions};
use meshproof::provider::programs::Programs;
use meshproof::vm::image;
use serde_json::{Value, json};

/// Milliseconds of each time. `state` is a folder that remembers no image.
pub(crate) async fn measure(state: &Utf8Path, times: u32) -> anyhow::Result<Value> {
    let engine = Engine::connect(&docker_support::socket()?).await?;
    let programs = Programs::find()?;
    let (mut first, mut cached) = (Vec::new(), Vec::new());
    for _ in 0..times {
        remove(&engine).await?;
        first.push(ensured(&engine, &programs, state, false).await?);
        cached.push(ensured(&engine, &programs, state, true).await?);
    }
    // Nobody remembers what was made here, and so nobody would ever remove it.
    remove(&engine).await?;
    Ok(json!({ "docker": engine.name(), "firstMilliseconds": first, "cachedMilliseconds": cached }))
}

/// How long it takes until the image is there, which it is to be already, or not.
async fn ensured(engine: &Engine, programs: &Programs, state: &Utf8Path, cached: bool) -> anyhow::Result<f64> {
    let began = Instant::now();
    let made = image::ensure(engine, programs, state).await?;
    let milliseconds = began.elapsed().as_secs_f64() * 1e3;
    ensure!(made.cached == cached, "the image {} {}", made.id, if cached { "was made anew" } else { "was there" });
    Ok(milliseconds)
}

/// Removes the image of every build.
async fn remove(engine: &Engine) -> anyhow::Result<()> {
    let filters = HashMap::from([("reference".to_owned(), vec![image::NAME.to_owned()])]);
    let options = ListImagesOptions { filters: Some(filters), ..ListImagesOptions::default() };
    let listed = engine.docker().list_images(Some(options)).await.context("cannot list images")?;
    for one in listed {
        let removed = engine.docker().remove_image(&one.id, None::<RemoveImageOptions>, None).await;
        removed.with_context(|| format!("cannot remove the image {}: does an environment run that has it?", one.id))?;
    }
    Ok(())
}
