// SPDX-License-Identifier: Apache-2.0
// What:        Options: what the application asks for at start(). Names and defaults are Kafka's;
//              each line gives the property it stands for.
// Flow:        the application (or core/properties.hpp, by name) -> Engine::start copies what it
//              keeps.
// Memory:      views; they may go as soon as start() has returned.
// Errors:      start() answers Errc::bad_option or too_long and last_error() names the option.
#ifndef KSHARE_CORE_OPTIONS_HPP
#define KSHARE_CORE_OPTIONS_HPP

#include <cstdint>
#include <string_view>

#include "kshare/base/bytes.hpp"
#include "kshare/core/trace.hpp"

namespace kshare {

enum class AckMode : uint8_t {
  implicit_mode,  // "implicit": asking for the next record accepts the one before
  explicit_mode,  // "explicit": every record is acknowledged by the application
};

enum class AcquireMode : uint8_t {
  batch_optimized = 0,  // whole producer batches: cheap for the broker
  record_limit = 1,     // never more records than asked for (Kafka 4.2 and later)
};

// What becomes of a record that this consumer can never hand out.
enum class Unusable : uint8_t {
  release,  // given back: another member may have the room or the codec; each return counts
  reject,   // done with: archived, or sent to the group's dead-letter queue
};

struct CodecRegistry;  // codec/codec.hpp

struct Options {
  std::string_view bootstrap_servers;     // bootstrap.servers: "host:port,[::1]:9092"; required
  std::string_view group_id;              // group.id; required
  std::string_view client_id = literal("kshare");  // client.id
  std::string_view client_rack;           // client.rack

  AckMode acknowledgement_mode = AckMode::implicit_mode;  // share.acknowledgement.mode
  AcquireMode acquire_mode = AcquireMode::batch_optimized;  // share.acquire.mode
  bool check_crcs = true;             // check.crcs
  bool allow_auto_create_topics = false;  // allow.auto.create.topics; Java's default is true, but a
                                          // misspelt subscription must not create a topic
  int32_t max_poll_records = 500;     // max.poll.records: records acquired by one fetch at most
  int32_t fetch_min_bytes = 1;        // fetch.min.bytes
  int32_t fetch_max_bytes = 52428800; // fetch.max.bytes; the free part of a store slot caps it
  int32_t fetch_max_wait_ms = 500;    // fetch.max.wait.ms

  int32_t request_timeout_ms = 30000;        // request.timeout.ms
  int32_t connection_setup_timeout_ms = 10000;  // socket.connection.setup.timeout.ms
  int32_t retry_backoff_ms = 100;            // retry.backoff.ms
  int32_t retry_backoff_max_ms = 1000;       // retry.backoff.max.ms
  int32_t reconnect_backoff_ms = 50;         // reconnect.backoff.ms
  int32_t reconnect_backoff_max_ms = 1000;   // reconnect.backoff.max.ms
  int32_t metadata_max_age_ms = 300000;      // metadata.max.age.ms
  // metadata.recovery.rebootstrap.trigger.ms: without Metadata for so long, the brokers known are
  // forgotten and bootstrap.servers are asked again
  int32_t rebootstrap_trigger_ms = 300000;
  // metadata.cluster.check.enable: brokers of Kafka 4.4 and later refuse a client that took them
  // for another broker, or for one of another cluster
  bool metadata_cluster_check = true;

  // kshare's own.
  bool auto_renew = true;       // auto.renew: while records are taken, the locks of those that wait
                                // are renewed
  Unusable too_large = Unusable::release;    // record.too.large: larger than a store slot
  Unusable undecodable = Unusable::release;  // batch.undecodable: no codec, or damaged inside
  int32_t ack_linger_ms = 20;   // ack.linger.ms: how long an acknowledgement waits for company
                                // before it is sent
  int32_t lock_margin_ms = 100; // lock.margin.ms: a record whose lock ends within this time is not
                                // handed out; a quarter of the lock at most
  CodecRegistry* codecs = nullptr;     // decompression; without it only plain batches
  TraceHook trace{};  // told of every request, answer and change of state; core/trace.hpp
};

}  // namespace kshare

#endif  // KSHARE_CORE_OPTIONS_HPP
