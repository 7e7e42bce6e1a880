//! Flags between tasks: a watched `bool` that becomes true once.

use tokio::sync::watch;

/// Waits until a flag is set; `false` where nobody is left who could set it.
///
/// What [`watch::Receiver::wait_for`] returns holds the flag as long as it lives, also over a later `await`, and whoever sets the
/// flag again then waits on its thread for good. Nothing is held here.
pub async fn is_set(flag: &mut watch::Receiver<bool>) -> bool {
    flag.wait_for(|set| *set).await.is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_flag_can_be_set_again_while_a_task_that_waited_for_it_goes_on() {
        let (sender, mut flag) = watch::channel(false);
        let (seen, mut is_seen) = watch::channel(false);
        let waiter = tokio::spawn(async move {
            let _set = is_set(&mut flag).await;
            seen.send_replace(true);
            std::future::pending::<()>().await;
        });
        sender.send_replace(true);
        assert!(is_set(&mut is_seen).await);
        let again = tokio::task::spawn_blocking(move || sender.send_replace(true));
        let done = tokio::time::timeout(Duration::from_secs(10), again).await;
        waiter.abort();
        assert!(done.expect("nobody holds it").expect("no panic"));
    }

    #[tokio::test]
    async fn a_flag_that_nobody_can_set_is_not_set() {
        let (sender, mut flag) = watch::channel(false);
        drop(sender);
        assert!(!is_set(&mut flag).await);
    }
}
