//! Batches and questions.

use super::Host;
use super::fake::Phase;
use crate::space::Write;
use crate::state::{MAX_KEY, MAX_VALUE, MAX_WRITES};
use crate::{Answer, Message, Post, QueryError, Question, Space, Storage, StoreFailure, Time};
use weir_contract::packed::{self, FORMAT, tag};

/// Most messages of one batch.
const MAX_BATCH: usize = 64;
/// Most bytes of one item of an answer.
const MAX_ITEM: usize = 64 * 1024;
/// Most bytes of all items of an answer.
const MAX_ANSWER: usize = 1024 * 1024;
/// Most bytes of an answer's cursor.
const MAX_CURSOR: usize = 1024;

impl<P: Storage> Host<P> {
    /// Stores messages in batches of at most 64. Those without a place in a log get the next one in
    /// `default`, epoch 1. After an error nothing of that batch is kept.
    pub fn store(&mut self, messages: &[Message]) -> Result<(), StoreFailure> {
        for batch in messages.chunks(MAX_BATCH) {
            let batch: Vec<Message> = batch.iter().map(|message| self.placed(message)).collect();
            let now = batch.iter().map(Message::received).max().unwrap_or_default();
            let call = |plugin: &P| -> Result<Vec<Write>, StoreFailure> {
                let mut space = Space::default();
                plugin.store(&batch, &mut space)?;
                Ok(space.into_writes())
            };
            let writes = self.pass(Phase::ReadOnly, now, call, |_| false)??;
            self.keep(writes)?;
        }
        Ok(())
    }

    /// The first page of up to 100 items.
    pub fn query(&mut self, topic: &str, params: serde_json::Value) -> Result<Answer, QueryError> {
        self.query_page(topic, params, None, 100)
    }

    /// One page: from the start or from an earlier answer's `next`, and of at most `limit` items.
    pub fn query_page(
        &mut self,
        topic: &str,
        params: serde_json::Value,
        cursor: Option<&[u8]>,
        limit: usize,
    ) -> Result<Answer, QueryError> {
        let question = Question {
            topic: topic.to_owned(),
            params: params.to_string(),
            cursor: cursor.map(<[u8]>::to_vec),
            limit,
            session: vec![FORMAT],
        };
        let answer =
            self.pass(Phase::ReadOnly, Time::default(), |plugin| plugin.query(&question), |_| false)??;
        check_answer(&answer, limit).map_err(|what| QueryError::Internal(format!("trap: {what}")))?;
        Ok(answer)
    }

    fn placed(&mut self, message: &Message) -> Message {
        let mut message = message.clone();
        if message.offset().is_none() {
            packed::put_u64(&mut message.meta, tag::EPOCH, 1);
            packed::put_u64(&mut message.meta, tag::OFFSET, self.next_offset);
            packed::put_text(&mut message.meta, tag::LOG, "default");
            self.next_offset += 1;
        }
        message
    }

    fn keep(&mut self, writes: Vec<Write>) -> Result<(), StoreFailure> {
        let trap = |what: &str| StoreFailure::Internal(format!("trap: {what}"));
        if writes.len() > MAX_WRITES {
            return Err(trap("more than 1,000 writes in one batch"));
        }
        let mut posts = Vec::new();
        let mut fake = self.fake.borrow_mut();
        fake.begin(Phase::Call, Time::default());
        for write in writes {
            let (key, value) = match &write {
                Write::Put { key, value, expires } => {
                    (key, Some((value.as_slice(), expires.map(Time::micros))))
                }
                Write::Delete { key } => (key, None),
                Write::Post(post) => {
                    check_post(post).map_err(trap)?;
                    posts.push(post.clone());
                    continue;
                }
            };
            if key.is_empty()
                || key.len() > MAX_KEY
                || value.is_some_and(|(value, _)| value.len() > MAX_VALUE)
            {
                return Err(trap("a key is 1 to 512 bytes, a value at most 256 KiB"));
            }
            fake.write(key, value)?;
        }
        fake.commit();
        self.posts.append(&mut posts);
        Ok(())
    }
}

fn check_post(post: &Post) -> Result<(), &'static str> {
    if !(post.url.starts_with("https://") || post.url.starts_with("http://")) || post.url.len() > 2048 {
        return Err("a post's url is http:// or https://, at most 2 KiB");
    }
    if post.body.len() > MAX_VALUE || post.headers.len() > 32 {
        return Err("a post has at most 256 KiB and 32 headers");
    }
    if !(1..=128).contains(&post.key.len()) || !post.key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a post's key is 1 to 128 bytes of visible ASCII");
    }
    Ok(())
}

fn check_answer(answer: &Answer, limit: usize) -> Result<(), String> {
    if answer.items.len() > limit {
        return Err(format!("{} items, {limit} were wanted", answer.items.len()));
    }
    if answer.items.iter().any(|item| item.len() > MAX_ITEM) {
        return Err("an item longer than 64 KiB".to_owned());
    }
    if answer.items.iter().map(String::len).sum::<usize>() > MAX_ANSWER {
        return Err("more than 1 MiB of items".to_owned());
    }
    if let Some(bad) =
        answer.items.iter().find(|item| serde_json::from_str::<serde::de::IgnoredAny>(item).is_err())
    {
        return Err(format!("an item that is not JSON: {bad}"));
    }
    if answer.next.as_ref().is_some_and(|next| next.len() > MAX_CURSOR) {
        return Err("a cursor longer than 1 KiB".to_owned());
    }
    Ok(())
}
