// SPDX-License-Identifier: Apache-2.0
// Writes the seeds of the fuzzers: make_seeds DIRECTORY, which is tests/fuzz/corpus; its folders
// must be there. Build: c++ -std=c++17 -Iinclude -Itests tests/fuzz/make_seeds.cpp
#include <cstdio>
#include <fstream>
#include <string>

#include "../broker/codec.hpp"
#include "../support/dns_server.hpp"
#include "../support/samples.hpp"
#include "kshare/net/dns_message.hpp"

namespace {

void write(const std::string& path, const std::string& octets) {
  std::ofstream file(path, std::ios::binary);
  file.write(octets.data(), static_cast<std::streamsize>(octets.size()));
}

void responses(const std::string& folder) {
  for (uint32_t kind = 0; kind < decoders::kKinds; ++kind) {
    for (decoders::Tags tags : {decoders::Tags::none, decoders::Tags::small}) {
      const auto body = samples::sample(static_cast<decoders::Kind>(kind), tags);
      std::string octets{static_cast<char>(kind), '\0', '\x06'};
      octets.append(body.begin(), body.end());
      write(folder + std::to_string(kind) + (tags == decoders::Tags::none ? "_plain" : "_tags"),
            octets);
    }
  }
}

std::vector<minibroker::Rec> some_records(int count, size_t bytes) {
  std::vector<minibroker::Rec> all(static_cast<size_t>(count));
  for (size_t i = 0; i < all.size(); ++i) {
    if (i % 2 == 0) all[i].key = "k";
    if (i % 3 != 0) all[i].value = std::string(bytes, 'v');
    if (i % 4 == 1) all[i].headers = {{"h", "x"}, {"null", std::nullopt}};
    all[i].timestamp = static_cast<int64_t>(1000 + i);
  }
  return all;
}

void records(const std::string& folder) {
  int number = 0;
  for (int form = 0; form < 6; ++form) {
    minibroker::BatchOptions options;
    options.log_append_time = form == 1;
    options.control = form == 2;
    options.codec = form == 3 ? 1 : 0;
    options.corrupt_crc = form == 4;
    options.last_offset_delta = form == 5 ? 40 : -1;
    const std::string batch =
        minibroker::build_batch(10, some_records(8, form == 0 ? 300 : 5), options);
    const std::string behind = minibroker::build_batch(60, some_records(2, 3), {});
    for (char flags : {'\x02', '\x04', '\x2c'}) {
      std::string octets{flags, '\x0c', '\x0e', '\0', '\x03', '\x02', '\x11', '\x01'};
      write(folder + std::to_string(number++), octets + batch + behind);
    }
  }
}

// Octets that mostly ask for honest answers.
void lives(const std::string& folder, int count, size_t size) {
  uint64_t seed = 99;
  for (int life = 0; life < count; ++life) {
    std::string octets;
    for (size_t i = 0; i < size; ++i) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      const auto high = static_cast<uint32_t>(seed >> 33);
      octets += static_cast<char>((high & 0x300u) == 0 ? high & 0xFFu : high & 0x0Fu);
    }
    write(folder + std::to_string(life), octets);
  }
}

// The first octet chooses, as fuzz_dns.cpp says.
void dns(const std::string& folder) {
  using dnstest::record;
  uint8_t query[kshare::posix::kDnsQueryMax];
  const uint32_t size = kshare::posix::encode_dns_query(
      "b1.kafka.example", kshare::posix::DnsType::a, 0x1234, query);
  const dnstest::Question q = dnstest::read_question(std::string(query, query + size));
  const std::string same = dnstest::be16(0xC00C);
  const std::string alias = record(same, dnstest::kCname, 20, "\1x" + dnstest::be16(0xC00F));
  const std::string address =
      record("\1x" + dnstest::be16(0xC00F), dnstest::kA, 60, dnstest::wire_address("192.0.2.1"));
  const std::string answers[] = {dnstest::answer(q, 0, 2, alias + address),
                                 dnstest::answer(q, 0, 2, alias + address, true),
                                 dnstest::answer(q, 3, 0, {})};
  int number = 0;
  for (const std::string& one : answers) write(folder + std::to_string(number++), "\x01" + one);
  write(folder + std::to_string(number++),
        "\x23nameserver [::1]:5353\nsearch a.example b.example\noptions ndots:5 rotate\n");
  write(folder + std::to_string(number), "\x27" "192.0.2.1 x broker # comment\n::1 broker\n");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 1;
  const std::string corpus = std::string(argv[1]) + "/";
  responses(corpus + "responses/");
  records(corpus + "records/");
  lives(corpus + "peer/", 6, 400);
  lives(corpus + "engine/", 6, 120);
  dns(corpus + "dns/");
  return 0;
}
