// SPDX-License-Identifier: Apache-2.0
// What:        the least that any client must do for its records: one request out, one answer of
//              500 records in over loopback TCP, the CRC of each batch, the varints of each record.
// Flow:        floor VALUE_BYTES RECORDS [walk]: a child sends prepared answers; what this process
//              spends is printed. walk: no sockets, for a run under callgrind.
// Memory:      one answer.
// Errors:      exit 1 when an answer is not what was prepared.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "bench/batches.hpp"
#include "bench/collect.hpp"
#include "kshare/record/batch.hpp"
#include "kshare/wire/crc32c.hpp"

namespace {

constexpr size_t kPerAnswer = 500;
constexpr size_t kRequestBytes = 120;  // a ShareFetch that acknowledges the answer before

int64_t varint(const uint8_t*& at) {
  uint64_t value = 0;
  for (uint32_t shift = 0;; shift += 7) {
    const uint8_t octet = *at++;
    value |= static_cast<uint64_t>(octet & 0x7Fu) << shift;
    if (octet < 0x80u) return static_cast<int64_t>((value >> 1) ^ (0 - (value & 1)));
  }
}

struct Sum {
  uint64_t records = 0;
  uint64_t octets = 0;
  bool sound = true;
};

void walk_record(const uint8_t*& at, Sum& sum) {
  const int64_t size = varint(at);
  const uint8_t* end = at + size;
  ++at;                                             // attributes
  sum.octets += static_cast<uint64_t>(varint(at));  // timestampDelta
  sum.octets += static_cast<uint64_t>(varint(at));  // offsetDelta
  const int64_t key = varint(at);
  if (key > 0) at += key;
  const int64_t value = varint(at);
  sum.octets += static_cast<uint64_t>(value) + *at;
  at += value;
  sum.octets += static_cast<uint64_t>(varint(at));  // headers
  sum.sound = sum.sound && at == end;
  ++sum.records;
}

void walk(const uint8_t* at, const uint8_t* end, kshare::Crc32c& crc, Sum& sum) {
  while (at != end) {
    const kshare::BatchHeader header = kshare::parse_batch_header(at);
    const uint8_t* behind = at + kshare::BatchHeader::kPrefixBytes + header.length;
    const uint8_t* checked = at + kshare::BatchHeader::kCrcFrom;
    crc.reset();
    crc.update({checked, static_cast<uint32_t>(behind - checked)});
    sum.sound = sum.sound && crc.value() == header.crc;
    at += kshare::BatchHeader::kBytes;
    for (int32_t i = 0; i < header.record_count; ++i) walk_record(at, sum);
    sum.sound = sum.sound && at == behind;
    at = behind;
  }
}

std::string prepared(size_t value_bytes) {
  std::string body;
  for (size_t from = 0; from < kPerAnswer;) {
    const size_t count = std::min(bench::records_per_batch(value_bytes), kPerAnswer - from);
    body += minibroker::build_batch(static_cast<int64_t>(from),
                                    bench::records(value_bytes, from, count));
    from += count;
  }
  return minibroker::Writer().i32(static_cast<int64_t>(body.size())).out + body;
}

// ---- The server's side, in the child.
void serve(int listener, const std::string& answer) {
  const int fd = ::accept(listener, nullptr, nullptr);
  char request[kRequestBytes];
  size_t have = 0;
  for (;;) {
    const ssize_t count = ::recv(fd, request + have, sizeof request - have, 0);
    if (count <= 0) ::_exit(0);
    have += static_cast<size_t>(count);
    if (have < sizeof request) continue;
    have = 0;
    for (size_t at = 0; at < answer.size();) {
      const ssize_t sent = ::send(fd, answer.data() + at, answer.size() - at, MSG_NOSIGNAL);
      if (sent <= 0) ::_exit(0);
      at += static_cast<size_t>(sent);
    }
  }
}

int connect_to_child(const std::string& answer) {
  sockaddr_in here{};
  here.sin_family = AF_INET;
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof here;
  void* address = &here;
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  if (::bind(listener, static_cast<sockaddr*>(address), size) != 0 || ::listen(listener, 1) != 0 ||
      ::getsockname(listener, static_cast<sockaddr*>(address), &size) != 0) {
    return -1;
  }
  if (::fork() == 0) serve(listener, answer);
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  if (::connect(fd, static_cast<sockaddr*>(address), size) != 0) return -1;
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

// ---- The client's.
struct Client {
  int fd = -1;
  uint64_t calls = 0;
  kshare::Crc32c crc{};
  Sum sum{};
  std::string buffer;

  bool turn() {
    const char request[kRequestBytes] = {};
    ++calls;
    if (::send(fd, request, sizeof request, MSG_NOSIGNAL) != sizeof request) return false;
    size_t have = 0;
    while (have < buffer.size()) {
      ++calls;
      const ssize_t count = ::recv(fd, buffer.data() + have, buffer.size() - have, 0);
      if (count <= 0) return false;
      have += static_cast<size_t>(count);
    }
    const void* bytes = buffer.data();
    const auto* at = static_cast<const uint8_t*>(bytes);
    walk(at + 4, at + buffer.size(), crc, sum);
    return sum.sound;
  }
};

int64_t cpu_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return time.tv_sec * int64_t{1000000000} + time.tv_nsec;
}

int report(const Sum& sum, uint64_t calls, int64_t cpu) {
  std::printf("{\"records\": %" PRIu64 ", \"calls\": %" PRIu64 ", \"cpu_ns\": %" PRId64
              ", \"sum\": %" PRIu64 "}\n",
              sum.records, calls, cpu, sum.octets);
  return sum.sound ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 1;
  const std::string answer = prepared(std::strtoul(argv[1], nullptr, 10));
  const uint64_t wanted = std::strtoul(argv[2], nullptr, 10);
  Client client;
  if (argc > 3) {
    const void* bytes = answer.data();
    const auto* at = static_cast<const uint8_t*>(bytes);
    const bench::Collect collect;
    while (client.sum.records < wanted) {
      walk(at + 4, at + answer.size(), client.crc, client.sum);
    }
    return report(client.sum, 0, 0);
  }
  client.fd = connect_to_child(answer);
  client.buffer.resize(answer.size());
  if (client.fd < 0 || !client.turn()) return 1;  // the first warms everything
  client.sum.records = client.calls = 0;
  const int64_t begin = cpu_ns();
  while (client.sum.records < wanted) {
    if (!client.turn()) return 1;
  }
  const int64_t spent = cpu_ns() - begin;
  ::close(client.fd);
  ::wait(nullptr);
  return report(client.sum, client.calls, spent);
}
