// SPDX-License-Identifier: Apache-2.0
// What:        a consumer that only looks at its records: the README's loop, implicit mode.
// Flow:        consume HOST:PORT GROUP TOPIC RECORDS [BETWEEN_POLLS]; what it has spent on the
//              records behind the first one is printed: CPU time and system calls.
// Memory:      static, as bench/limits.hpp says; links with libc alone.
// Errors:      exit 1 when the consumer has failed, or has not had all records after 120 s.
//
// Linked with -Wl,--wrap for each function counted below: every system call of net/posix.hpp that
// belongs to records. The clock costs none (vDSO).
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "bench/limits.hpp"
#include "kshare/kshare.hpp"
#include "kshare/net/posix.hpp"

namespace {

struct Calls {
  uint64_t recv = 0;
  uint64_t again = 0;  // of those, in vain
  uint64_t send = 0;
  uint64_t poll = 0;
};
Calls calls;

}  // namespace

extern "C" {
ssize_t __real_recv(int fd, void* into, size_t size, int flags);
ssize_t __real_send(int fd, const void* from, size_t size, int flags);
int __real_poll(pollfd* fds, nfds_t count, int timeout);
ssize_t __wrap_recv(int fd, void* into, size_t size, int flags);
ssize_t __wrap_send(int fd, const void* from, size_t size, int flags);
int __wrap_poll(pollfd* fds, nfds_t count, int timeout);

ssize_t __wrap_recv(int fd, void* into, size_t size, int flags) {
  const ssize_t count = __real_recv(fd, into, size, flags);
  ++calls.recv;
  if (count < 0) ++calls.again;
  return count;
}
ssize_t __wrap_send(int fd, const void* from, size_t size, int flags) {
  ++calls.send;
  return __real_send(fd, from, size, flags);
}
int __wrap_poll(pollfd* fds, nfds_t count, int timeout) {
  ++calls.poll;
  return __real_poll(fds, count, timeout);
}
}

namespace {

constexpr int64_t kPatienceMs = 120000;

kshare::Storage<bench::limits> storage;
kshare::posix::TcpPool<bench::limits> net;

struct Mark {
  int64_t cpu_ns = 0;
  int64_t wall_ns = 0;
  Calls calls{};
};

int64_t read_clock(clockid_t id) {
  timespec time = {};
  static_cast<void>(::clock_gettime(id, &time));
  return int64_t{time.tv_sec} * 1000000000 + time.tv_nsec;
}
Mark mark() { return {read_clock(CLOCK_PROCESS_CPUTIME_ID), read_clock(CLOCK_MONOTONIC), calls}; }

// The peak of resident memory; getrusage() would tell that of the parent before exec.
long peak_kb() {
  char text[4096];
  const int fd = ::open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  const ssize_t size = ::read(fd, text, sizeof text - 1);
  static_cast<void>(::close(fd));
  if (size <= 0) return 0;
  text[size] = '\0';
  const char* line = std::strstr(text, "VmHWM:");
  return line == nullptr ? 0 : std::strtol(line + 6, nullptr, 10);
}

void report(const Mark& begin, const Mark& first, const Mark& last, const kshare::Stats& stats,
            uint64_t sum) {
  const auto number = [](auto value) { return static_cast<int64_t>(value); };
  const struct {
    const char* name;
    int64_t value;
  } rows[] = {
      {"records", number(stats.records)},
      {"first_ns", first.wall_ns - begin.wall_ns},
      {"cpu_ns", last.cpu_ns - first.cpu_ns},
      {"wall_ns", last.wall_ns - first.wall_ns},
      {"recv", number(last.calls.recv - first.calls.recv)},
      {"again", number(last.calls.again - first.calls.again)},
      {"send", number(last.calls.send - first.calls.send)},
      {"poll", number(last.calls.poll - first.calls.poll)},
      {"bytes", number(stats.bytes)},
      {"bytes_received", number(stats.bytes_received)},
      {"fetches", number(stats.fetches)},
      {"ram", number(sizeof storage + sizeof net + sizeof(kshare::ShareConsumer))},
      {"peak_kb", peak_kb()},
  };
  for (const auto& row : rows) {
    std::printf("%s\"%s\": %" PRId64, &row == rows ? "{" : ", ", row.name, row.value);
  }
  std::printf(", \"sum\": %" PRIu64 "}\n", sum);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return 1;
  kshare::Options options;
  options.bootstrap_servers = argv[1];
  options.group_id = argv[2];
  const uint64_t wanted = std::strtoull(argv[4], nullptr, 10);
  const uint64_t between_polls = argc > 5 ? std::strtoull(argv[5], nullptr, 10) : 1;
  const Mark begin = mark();
  kshare::ShareConsumer consumer{storage, net};
  if (!consumer.start(options).ok() || !consumer.subscribe({argv[3]}).ok()) return 1;
  const kshare::Instant until = net.now() + kPatienceMs;
  Mark first;
  uint64_t sum = 0;
  kshare::Record record;
  for (auto now = net.now(); consumer.poll(now) && now < until; now = net.now()) {
    uint64_t taken = 0;
    while (taken < between_polls && consumer.stats().records < wanted &&
           consumer.next(record, now)) {
      if (consumer.stats().records == 1) first = mark();
      sum += record.value.size + record.value.data[0];
      ++taken;
    }
    if (consumer.stats().records == wanted) break;
    if (taken == 0) net.wait(consumer);
  }
  const Mark last = mark();
  if (consumer.stats().records != wanted) return 1;
  report(begin, first, last, consumer.stats(), sum);
  return kshare::posix::close(consumer, net, 10000).ok() ? 0 : 1;
}
