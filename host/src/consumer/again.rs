//! What an operator takes out of the dead letters and gives to a storage plugin once more.

use std::time::Duration;

use tokio::sync::oneshot;

use super::Consumers;
use super::rebuild::Rebuild;
use super::storage::{TASKS, Task, Work};
use crate::message::Message;
use crate::outbox::Post;

/// How long the plugin's thread may let it wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why nothing was done again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAgain {
    /// No storage binding of that name.
    #[error("no storage plugin is named {0:?}")]
    Unknown(String),
    /// It fills new data, which has the message if it can be stored.
    #[error("{0} is being rebuilt: try again when that is done")]
    Rebuilt(String),
    /// Its thread is at something else.
    #[error("{0} is busy: try again")]
    Busy(String),
    /// It was tried.
    #[error("{0}")]
    Failed(String),
}

impl Consumers {
    /// Gives a message to one storage plugin alone, with the place in its log that stands in its metadata. Ok: what
    /// came of it is on the disk.
    pub async fn store_again(&self, plugin: &str, message: Message) -> Result<(), NotAgain> {
        self.again(plugin, Work::Message(message)).await
    }

    /// Puts a post into the outbox of a storage plugin. Ok: it is there, on the disk.
    pub async fn post_again(&self, plugin: &str, post: Post) -> Result<(), NotAgain> {
        self.again(plugin, Work::Post(Box::new(post))).await
    }

    async fn again(&self, plugin: &str, work: Work) -> Result<(), NotAgain> {
        let (answer, answered) = oneshot::channel();
        self.hand_over(plugin, Task { work, answer })?;
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(done)) => done.map_err(NotAgain::Failed),
            Ok(Err(_)) => Err(NotAgain::Failed(format!("{plugin} was stopped or swapped: try again"))),
            Err(_) => Err(NotAgain::Busy(plugin.to_owned())),
        }
    }

    fn hand_over(&self, plugin: &str, task: Task) -> Result<(), NotAgain> {
        let running = self.running.lock();
        let consumer = running.get(plugin).ok_or_else(|| NotAgain::Unknown(plugin.to_owned()))?;
        let rebuilt = consumer.rebuild.as_ref().is_some_and(Rebuild::is_running);
        if rebuilt && matches!(task.work, Work::Message(_)) {
            return Err(NotAgain::Rebuilt(plugin.to_owned()));
        }
        let mut waiting = consumer.again.lock();
        if waiting.len() >= TASKS {
            return Err(NotAgain::Busy(plugin.to_owned()));
        }
        waiting.push_back(task);
        consumer.thread.thread().unpark();
        Ok(())
    }
}
