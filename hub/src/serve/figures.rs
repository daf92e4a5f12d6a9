//! The page of figures of a serving hub, if there is to be one.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::Config;
use crate::disk::Disk;
use crate::live::{self, Counts};
use crate::overview::Overview;
use crate::store::{Store, StoreError};
use crate::{http, metrics};

/// Listen, where the configuration says so; what comes back serves and never ends.
pub(super) async fn page(
    config: &Config,
    counts: &Arc<Counts>,
) -> std::io::Result<impl Future<Output = ()> + use<>> {
    let listener = match config.metrics.listen {
        Some(address) => Some(http::listen(address).await?),
        None => None,
    };
    let (database, counts) = (config.database.clone(), Arc::clone(counts));
    Ok(async move {
        if let Some(listener) = listener {
            let gather = move || gather(database.clone(), Arc::clone(&counts));
            http::serve(listener, gather).await;
        }
        std::future::pending().await
    })
}

/// The figures, read on a connection and a thread of their own: that holds up nobody.
async fn gather(database: PathBuf, counts: Arc<Counts>) -> Result<String, String> {
    let read = tokio::task::spawn_blocking(move || {
        let status = Store::open_to_read(&database).and_then(|store| store.figures())?;
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let seen = Overview::of(status, live::look(&database), Disk::around(&database), now_s);
        Ok(metrics::text(&seen, &counts))
    });
    let read: Result<String, StoreError> = read.await.map_err(|error| error.to_string())?;
    read.map_err(|error| error.to_string())
}
