//! A sensor: posts batches of readings by HTTP. Some posts it sends twice, as one whose answer was lost; and
//! sometimes a malformed one, as a broken sensor does.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::client::{Http, Login};
use crate::clock;
use crate::proc::{Proc, Sample};
use crate::witness::{Sent, Witness};

/// Time between two readings.
pub const INTERVAL: Duration = Duration::from_millis(100);
/// Readings of a batch.
const BATCH: usize = 5;
/// Every so many batches one is malformed, and one is posted twice.
const MALFORMED_EVERY: u64 = 4;
const REPEATED_EVERY: u64 = 7;

/// A sensor. It connects when it has something to post.
pub struct Sensor {
    name: String,
    /// Ours alone, so that no other run's posts count as this one's.
    run: String,
    boot: String,
    http: Http,
    proc: Proc,
    witness: Arc<dyn Witness>,
    /// Number of the latest message.
    seq: u64,
    /// Number of the latest batch.
    batch: u64,
}

#[derive(Serialize)]
struct Reading<'a> {
    seq: u64,
    sent_us: u64,
    boot: &'a str,
    #[serde(flatten)]
    sample: Sample,
}

impl Sensor {
    /// A sensor.
    pub fn new(login: Login, witness: Arc<dyn Witness>) -> Self {
        Self {
            name: login.name.clone(),
            run: format!("{}-{:x}", login.name, clock::now_us()),
            boot: clock::boot(),
            http: Http::new(login),
            proc: Proc::new(),
            witness,
            seq: 0,
            batch: 0,
        }
    }

    /// Measures and posts until stopped; a post that is under way is finished.
    pub async fn run(mut self, stop: CancellationToken) -> Result<()> {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut samples = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => samples.push(self.proc.sample()?),
            }
            if samples.len() == BATCH {
                self.post(&samples).await?;
                samples.clear();
            }
        }
    }

    async fn post(&mut self, samples: &[Sample]) -> Result<()> {
        self.batch += 1;
        if self.batch.is_multiple_of(MALFORMED_EVERY) {
            let (first, mut batch) = self.number(samples)?;
            let payload = spoil(&mut batch, self.batch / MALFORMED_EVERY)?;
            self.send(first, Sent::Malformed, payload).await?;
            self.batch += 1;
        }
        let (first, batch) = self.number(samples)?;
        let payload = Bytes::from(serde_json::to_vec(&batch)?);
        self.send(first, Sent::Sound, payload.clone()).await?;
        if self.batch.is_multiple_of(REPEATED_EVERY) {
            self.send(first, Sent::Repeated, payload).await?;
        }
        Ok(())
    }

    /// The readings with the next numbers, and the first of these.
    fn number(&mut self, samples: &[Sample]) -> Result<(u64, Vec<Value>)> {
        let first = self.seq + 1;
        let mut batch = Vec::with_capacity(samples.len());
        let sent_us = clock::now_us();
        for sample in samples {
            self.seq += 1;
            let reading = Reading { seq: self.seq, sent_us, boot: &self.boot, sample: *sample };
            batch.push(serde_json::to_value(&reading)?);
        }
        Ok((first, batch))
    }

    async fn send(&mut self, first: u64, sent: Sent, payload: Bytes) -> Result<()> {
        let messages = first..=self.seq;
        let once = format!("{}-{}", self.run, self.batch);
        let topic = format!("sensors/{}/batches", self.name);
        self.witness.sent(&self.name, messages.clone(), sent);
        let answer = self.http.publish(&topic, &once, payload).await?.answer()?;
        self.witness.answered(&self.name, messages, sent, &answer);
        if sent == Sent::Malformed {
            self.witness.note(&format!("{}'s malformed batch was answered: {answer}", self.name));
        } else if !answer.ok {
            self.witness.note(&format!("{}'s batch was turned away: {answer}", self.name));
        }
        Ok(())
    }
}

/// What goes wrong with sensors, one after the other, in the middle of the batch.
fn spoil(batch: &mut [Value], kind: u64) -> Result<Bytes> {
    let middle = batch.len() / 2;
    let reading = batch.get_mut(middle).and_then(Value::as_object_mut);
    match (kind % 4, reading) {
        (1, Some(reading)) => {
            reading.insert("cpu_percent".into(), 5_000.into());
        }
        (2, Some(reading)) => {
            reading.remove("memory_used");
        }
        (3, Some(reading)) => {
            reading.insert("load".into(), "high".into());
        }
        _ => {
            let mut text = serde_json::to_vec(batch)?;
            text.truncate(text.len() / 2);
            return Ok(text.into());
        }
    }
    Ok(serde_json::to_vec(batch)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_spoilt_batch_is_wrong_in_its_own_way() {
        let reading = serde_json::json!({"seq": 1, "cpu_percent": 3.5, "memory_used": 10, "load": 0.1});
        let mut spoilt = Vec::new();
        for kind in 0..4 {
            let mut batch = vec![reading.clone(); 3];
            let payload = spoil(&mut batch, kind).unwrap();
            assert_ne!(payload, serde_json::to_vec(&vec![reading.clone(); 3]).unwrap());
            spoilt.push(payload);
        }
        assert!(serde_json::from_slice::<Value>(&spoilt[0]).is_err());
        let middle = |payload: &Bytes| serde_json::from_slice::<Value>(payload).unwrap()[1].clone();
        assert_eq!(middle(&spoilt[1])["cpu_percent"], 5_000);
        assert_eq!(middle(&spoilt[2]).get("memory_used"), None);
        assert_eq!(middle(&spoilt[3])["load"], "high");
    }
}
