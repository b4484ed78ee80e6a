// SPDX-License-Identifier: Apache-2.0
// core/properties.hpp: every property of Java's share consumer has its answer, and bad values
// change nothing.
#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "../support/number_options.hpp"
#include "kshare/core/properties.hpp"

namespace test_properties {
namespace {

using kshare::Options;
using kshare::PropertyOutcome;
using kshare::PropertyResult;

PropertyOutcome outcome_of(std::string_view name, std::string_view value) {
  Options options;
  return kshare::set(options, name, value).outcome;
}

}  // namespace

TEST_CASE("properties: texts are kept as views, without the spaces around them") {
  Options options;
  const std::string servers = " 10.0.0.1:9092,[::1]:9093\t";
  CHECK(kshare::set(options, "bootstrap.servers", servers).outcome == PropertyOutcome::accepted);
  CHECK(options.bootstrap_servers == "10.0.0.1:9092,[::1]:9093");
  CHECK(options.bootstrap_servers.data() == servers.data() + 1);
  CHECK(kshare::set(options, "group.id", "Gateways").ok());
  CHECK(kshare::set(options, "client.id", "pump 7").ok());
  CHECK(kshare::set(options, "client.rack", "").ok());
  CHECK(options.group_id == "Gateways");
  CHECK(options.client_id == "pump 7");
  CHECK(options.client_rack.empty());
}

TEST_CASE("properties: every number is set, and held to its range") {
  for (const NumberOption& row : kNumberOptions) {
    CAPTURE(row.name);
    Options options;
    CHECK(kshare::set(options, row.name, " 12345 ").outcome == PropertyOutcome::accepted);
    CHECK(options.*row.field == 12345);
    CHECK(kshare::set(options, row.name, std::to_string(row.least)).ok());
    CHECK(options.*row.field == row.least);
    CHECK(kshare::set(options, row.name, "2147483647").ok());
    CHECK(options.*row.field == INT32_MAX);
    const PropertyResult low = kshare::set(options, row.name, std::to_string(row.least - 1));
    CHECK(low.outcome == PropertyOutcome::bad_value);
    const char* const words = row.least == 0 ? "must not be negative" : "must be at least 1";
    CHECK(std::string(low.reason) == words);
    CHECK(options.*row.field == INT32_MAX);
  }
}

TEST_CASE("properties: what is no number changes nothing") {
  Options options;
  for (const char* text : {"", " ", "+", "-", "1.5", "1 2", "0x10", "ten", "2147483648", "--1",
                           "-2147483649", "99999999999999999999", "4294967297", "1e3"}) {
    CAPTURE(text);
    CHECK(kshare::set(options, "fetch.max.bytes", text).outcome == PropertyOutcome::bad_value);
    CHECK(options.fetch_max_bytes == Options{}.fetch_max_bytes);
  }
  CHECK(kshare::set(options, "fetch.max.bytes", "+0007").ok());
  CHECK(options.fetch_max_bytes == 7);
}

TEST_CASE("properties: flags and words, in any case") {
  Options options;
  CHECK(kshare::set(options, "check.crcs", "False").ok());
  CHECK_FALSE(options.check_crcs);
  CHECK(kshare::set(options, "check.crcs", " TRUE").ok());
  CHECK(options.check_crcs);
  CHECK(kshare::set(options, "check.crcs", "yes").outcome == PropertyOutcome::bad_value);
  CHECK(kshare::set(options, "check.crcs", "1").outcome == PropertyOutcome::bad_value);
  CHECK(kshare::set(options, "allow.auto.create.topics", "true").ok());
  CHECK(options.allow_auto_create_topics);
  CHECK(kshare::set(options, "share.acknowledgement.mode", "EXPLICIT").ok());
  CHECK(options.acknowledgement_mode == kshare::AckMode::explicit_mode);
  CHECK(kshare::set(options, "share.acknowledgement.mode", "implicit").ok());
  CHECK(options.acknowledgement_mode == kshare::AckMode::implicit_mode);
  CHECK_FALSE(kshare::set(options, "share.acknowledgement.mode", "auto").ok());
  CHECK(kshare::set(options, "share.acquire.mode", "record_limit").ok());
  CHECK(options.acquire_mode == kshare::AcquireMode::record_limit);
  CHECK(kshare::set(options, "share.acquire.mode", "batch_optimized").ok());
  CHECK(options.acquire_mode == kshare::AcquireMode::batch_optimized);
  CHECK_FALSE(kshare::set(options, "share.acquire.mode", "record-limit").ok());
  CHECK(kshare::set(options, "record.too.large", "reject").ok());
  CHECK(options.too_large == kshare::Unusable::reject);
  CHECK(options.undecodable == kshare::Unusable::release);
  CHECK(kshare::set(options, "record.too.large", "release").ok());
  CHECK(kshare::set(options, "batch.undecodable", "Reject").ok());
  CHECK(options.too_large == kshare::Unusable::release);
  CHECK(options.undecodable == kshare::Unusable::reject);
  CHECK_FALSE(kshare::set(options, "batch.undecodable", "drop").ok());
  CHECK(kshare::set(options, "metadata.cluster.check.enable", "false").ok());
  CHECK_FALSE(options.metadata_cluster_check);
}

TEST_CASE("properties: what share consumers refuse is refused, with the way to do it") {
  for (const char* name :
       {"auto.offset.reset", "enable.auto.commit", "group.instance.id", "isolation.level",
        "partition.assignment.strategy", "interceptor.classes", "session.timeout.ms",
        "heartbeat.interval.ms", "group.protocol", "group.remote.assignor", "security.providers",
        "config.providers", "config.providers.file.class"}) {
    CAPTURE(name);
    CHECK(outcome_of(name, "x") == PropertyOutcome::rejected);
  }
  Options options;
  const PropertyResult reset = kshare::set(options, "auto.offset.reset", "earliest");
  CHECK(std::string(reset.reason).find("share.auto.offset.reset") != std::string::npos);
}

TEST_CASE("properties: words that name what kshare does anyway, or cannot do") {
  CHECK(outcome_of("client.dns.lookup", "use_all_dns_ips") == PropertyOutcome::accepted);
  CHECK(outcome_of("client.dns.lookup", "resolve_canonical_bootstrap_servers_only") ==
        PropertyOutcome::rejected);
  CHECK(outcome_of("client.dns.lookup", "default") == PropertyOutcome::bad_value);
  CHECK(outcome_of("metadata.recovery.strategy", "rebootstrap") == PropertyOutcome::accepted);
  CHECK(outcome_of("metadata.recovery.strategy", "NONE") == PropertyOutcome::rejected);
  CHECK(outcome_of("metadata.recovery.strategy", "some") == PropertyOutcome::bad_value);
}

TEST_CASE("properties: what would weaken a connection is never passed over") {
  CHECK(outcome_of("security.protocol", "PLAINTEXT") == PropertyOutcome::accepted);
  CHECK(outcome_of("security.protocol", "SSL") == PropertyOutcome::rejected);
  CHECK(outcome_of("security.protocol", "SASL_SSL") == PropertyOutcome::rejected);
  CHECK(outcome_of("security.protocol", "SASL_PLAINTEXT") == PropertyOutcome::rejected);
  CHECK(outcome_of("security.protocol", "TLS") == PropertyOutcome::bad_value);
  CHECK(outcome_of("ssl.truststore.location", "x") == PropertyOutcome::rejected);
  CHECK(outcome_of("ssl.endpoint.identification.algorithm", "") == PropertyOutcome::rejected);
  CHECK(outcome_of("sasl.mechanism", "PLAIN") == PropertyOutcome::rejected);
}

TEST_CASE("properties: what kshare has no part for is said to have no effect") {
  for (const char* name :
       {"bootstrap.resolve.timeout.ms", "max.poll.interval.ms", "exclude.internal.topics",
        "max.partition.fetch.bytes", "key.deserializer", "value.deserializer",
        "default.api.timeout.ms", "socket.connection.setup.timeout.max.ms",
        "connections.max.idle.ms", "send.buffer.bytes", "receive.buffer.bytes",
        "auto.include.jmx.reporter", "enable.metrics.push", "metric.reporters",
        "metrics.num.samples", "metrics.sample.window.ms", "metrics.recording.level"}) {
    CAPTURE(name);
    Options options;
    const PropertyResult result = kshare::set(options, name, "1");
    CHECK(result.outcome == PropertyOutcome::no_effect);
    CHECK(result.ok());
    CHECK(std::string(result.reason) != "");
  }
}

TEST_CASE("properties: names are exact") {
  for (const char* name : {"", "group", "group.id ", "Group.id", "group.idx", "ssl", "ssl.x"}) {
    CAPTURE(name);
    const bool ours = std::string_view(name) == "ssl.x";
    CHECK(outcome_of(name, "x") == (ours ? PropertyOutcome::rejected : PropertyOutcome::unknown));
  }
}

}  // namespace test_properties
