// SPDX-License-Identifier: Apache-2.0
// What:        kshare_cat: prints the records of a share group, in the manner of kcat.
// Flow:        arguments -> Options -> ShareConsumer -> one buffer -> standard output; events, and
//              at the end the counters, -> standard error.
// Memory:      static, all-zero at the start; no heap, no stdio, linked without libstdc++.
// Errors:      exit 0: done; 1: usage, or standard output cannot be written; 2: could not connect,
//              authenticate or join.
//
// A line has left this process before the acknowledgement of its record can: what next() accepts is
// sent by poll(), and everything is flushed before poll() is called. If standard output blocks for
// long (a pager), so do the heartbeats: after 45 s the group goes on without this member, after the
// lock's 30 s its records are delivered again.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <string_view>

#include "kshare/consumer.hpp"
#include "kshare/core/address.hpp"
#include "kshare/core/describe.hpp"
#include "kshare/core/properties.hpp"
#include "kshare/core/trace_format.hpp"
#include "kshare/net/dns.hpp"
#include "kshare/net/posix.hpp"
#include "kshare/net/trace.hpp"
#include "kshare/version.hpp"

namespace {

using kshare::Ack;
using kshare::Event;
using kshare::EventType;
using kshare::Instant;
using kshare::Record;
using kshare::Status;
using kshare::TextOut;

#if defined(KSHARE_CAT_TINY)
constexpr kshare::Limits kLimits = kshare::kTinyLimits;
#else
constexpr kshare::Limits kLimits = kshare::kDefaultLimits;
#endif

constexpr int kDone = 0;
constexpr int kUsage = 1;
constexpr int kNoGroup = 2;
constexpr uint32_t kBatchRecords = 512;       // between two poll()s
constexpr int64_t kNoBrokerMs = 10000;        // how long to try for a first connection
constexpr uint32_t kRefusalsMax = 3;          // by every address of the list, before the first one
constexpr int64_t kCloseMs = 10000;

kshare::Storage<kLimits> storage;
using Network = kshare::posix::TcpPool<kLimits>;
Network net;
kshare::posix::DnsStorage<kLimits.links_max + 2> names;
kshare::posix::Dns dns{names};
volatile sig_atomic_t stop_wanted = 0;

extern "C" void on_signal(int) {
  stop_wanted = 1;
  net.wakeup();
}

constexpr char kHelp[] =
    "kshare_cat " KSHARE_VERSION
    ": prints the records of a Kafka share group\n"
    "\n"
    "  kshare_cat -b HOST:PORT[,...] -g GROUP -t TOPIC[,TOPIC...] [options]\n"
    "\n"
    "  -c COUNT     end after COUNT records\n"
    "  -e           end after 2 s without a record, once partitions are assigned\n"
    "  -i MS        the idle time for -e\n"
    "  -f FORMAT    %t topic, %p partition, %o offset, %k key, %s value, %K and %S their\n"
    "               lengths (-1: null), %T timestamp, %h headers, %d delivery count, %%,\n"
    "               \\n \\t \\r \\\\ \\xHH; the default is '%s\\n'\n"
    "  -A ACK       accept, release or reject every record, or renew its lock once and accept it\n"
    "               then; all but accept imply -m explicit\n"
    "  -m MODE      implicit or explicit acknowledgement\n"
    "  -X NAME=VALUE  any property of Kafka's share consumer\n"
    "  -J           print counters as one line of JSON to stderr at the end\n"
    "  -v           print every event, request and answer to stderr, one a line; -vv also each\n"
    "               change of state of the connections and of the member\n"
    "  -h, --help   this text\n"
    "\n"
    "A new group starts at the end of its topics. To start at the beginning, set the group's\n"
    "config share.auto.offset.reset=earliest before it is first used.\n"
    "Names of hosts are looked up in /etc/hosts, then by the servers of /etc/resolv.conf.\n"
    "Exit: 0 done, 1 usage or output error, 2 could not connect, authenticate or join.\n";

// ---- Output.

// Writes all of it, also to a descriptor that somebody made non-blocking. 0 or an errno.
int write_all(int fd, const char* data, size_t size) {
  while (size != 0) {
    const ssize_t count = ::write(fd, data, size);
    if (count >= 0) {
      data += count;
      size -= static_cast<size_t>(count);
    } else if (errno == EAGAIN) {
      pollfd entry = {fd, POLLOUT, 0};
      static_cast<void>(::poll(&entry, 1, -1));
      if (stop_wanted != 0) return EINTR;
    } else if (errno != EINTR || stop_wanted != 0) {
      return errno;
    }
  }
  return 0;
}

// Standard output. After an error it swallows everything.
class Output {
 public:
  int error() const { return error_; }
  void put(std::string_view text) {
    if (text.size() > sizeof buffer_ - used_) flush();
    if (error_ != 0) return;
    if (text.size() >= sizeof buffer_) {
      error_ = write_all(STDOUT_FILENO, text.data(), text.size());
      return;
    }
    if (!text.empty()) std::memcpy(buffer_ + used_, text.data(), text.size());
    used_ += static_cast<uint32_t>(text.size());
  }
  void put(char c) {
    if (used_ == sizeof buffer_) flush();
    buffer_[used_++] = c;
  }
  void put(int64_t value) {
    char digits[24];
    TextOut text(digits, sizeof digits);
    text << value;
    put(std::string_view{digits, text.size()});
  }
  bool flush() {
    if (error_ == 0) error_ = write_all(STDOUT_FILENO, buffer_, used_);
    used_ = 0;
    return error_ == 0;
  }

 private:
  uint32_t used_ = 0;
  int error_ = 0;
  char buffer_[64 * 1024] = {};
};

Output out;

// One line on standard error: "kshare_cat: " and the words put into it.
class Complaint {
 public:
  Complaint() : text_(line_, sizeof line_) { text_ << "kshare_cat: "; }
  template <typename Words>
  Complaint& operator<<(const Words& words) {
    text_ << words;
    return *this;
  }
  void print() {
    line_[text_.size()] = '\n';  // in the place of the NUL
    static_cast<void>(write_all(STDERR_FILENO, line_, text_.size() + 1));
  }

 private:
  char line_[2 * kshare::kLineBytes];
  TextOut text_;
};

// ---- Arguments.

struct Arguments {
  kshare::Options options;
  std::string_view topics[kLimits.topics_max];
  uint32_t topic_count = 0;
  const char* format = "%s\\n";
  int64_t count = 0;  // 0: without end
  int64_t idle_ms = 2000;
  Ack ack = Ack::accept;
  bool end_when_idle = false;
  bool idle_given = false;
  bool mode_given = false;
  bool json = false;
  uint8_t verbose = 0;  // how often -v was given
  bool help = false;
};

int usage(const char* what, std::string_view about = {}) {
  Complaint complaint;
  complaint << what << about << "; kshare_cat -h explains";
  complaint.print();
  return kUsage;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// What stands next in a format: a token's letter, or (letter 0) an octet to print.
struct Piece {
  char letter = 0;
  char octet = 0;
};

// Moves `at` behind the piece; false for a piece that has no meaning.
bool read_piece(const char*& at, Piece& piece) {
  const char first = *at++;
  piece = {0, first};
  if (first == '%') {
    const char letter = *at;
    if (letter == '\0' || std::strchr("tpoksSKThd%", letter) == nullptr) return false;
    ++at;
    if (letter != '%') piece.letter = letter;
    return true;
  }
  if (first != '\\') return true;
  const char escape = *at;
  if (escape == '\0') return false;
  ++at;
  if (escape == 'x') {
    const int high = hex_digit(*at);
    const int low = high < 0 ? -1 : hex_digit(at[1]);
    if (low < 0) return false;
    at += 2;
    piece.octet = static_cast<char>(high * 16 + low);
    return true;
  }
  piece.octet = escape == 'n' ? '\n' : escape == 't' ? '\t' : escape == 'r' ? '\r' : '\\';
  return std::strchr("ntr\\", escape) != nullptr;
}

int check_format(const char* format) {
  Piece piece;
  for (const char* at = format; *at != '\0';) {
    const char* const from = at;
    if (!read_piece(at, piece)) return usage("-f does not know ", from);
  }
  return kDone;
}

bool read_count(const char* text, int64_t& into) {
  int32_t value = 0;
  if (!kshare::property::read_int(text, value) || value < 1) return false;
  into = value;
  return true;
}

int set_topics(Arguments& arguments, const char* list) {
  for (const char* at = list;; ++at) {
    const char* const comma = std::strchr(at, ',');
    const size_t size = comma == nullptr ? std::strlen(at) : static_cast<size_t>(comma - at);
    if (size == 0) return usage("-t has an empty topic name: ", list);
    if (arguments.topic_count == kLimits.topics_max) return usage("-t has too many topics");
    arguments.topics[arguments.topic_count++] = {at, size};
    if (comma == nullptr) return kDone;
    at = comma;
  }
}

int set_property(Arguments& arguments, const char* text) {
  const char* const equals = std::strchr(text, '=');
  if (equals == nullptr) return usage("-X wants NAME=VALUE, not ", text);
  const std::string_view name{text, static_cast<size_t>(equals - text)};
  const auto result = kshare::set(arguments.options, name, equals + 1);
  if (result.outcome == kshare::PropertyOutcome::accepted) return kDone;
  Complaint complaint;
  complaint << "-X " << name << ": " << result.reason;
  complaint.print();
  return result.ok() ? kDone : kUsage;
}

int set_ack(Arguments& arguments, std::string_view word) {
  if (word == "accept") arguments.ack = Ack::accept;
  else if (word == "release") arguments.ack = Ack::release;
  else if (word == "reject") arguments.ack = Ack::reject;
  else if (word == "renew") arguments.ack = Ack::renew;
  else return usage("-A wants accept, release or reject, not ", word);
  return kDone;
}

int set_mode(Arguments& arguments, std::string_view word) {
  arguments.mode_given = true;
  if (!kshare::set(arguments.options, "share.acknowledgement.mode", word).ok()) {
    return usage("-m wants implicit or explicit, not ", word);
  }
  return kDone;
}

int set_value(Arguments& arguments, char letter, const char* value) {
  switch (letter) {
    case 'b': arguments.options.bootstrap_servers = value; return kDone;
    case 'g': arguments.options.group_id = value; return kDone;
    case 't': return set_topics(arguments, value);
    case 'f': arguments.format = value; return check_format(value);
    case 'A': return set_ack(arguments, value);
    case 'm': return set_mode(arguments, value);
    case 'X': return set_property(arguments, value);
    case 'c':
      if (!read_count(value, arguments.count)) return usage("-c wants a number, not ", value);
      return kDone;
    default:  // i
      arguments.idle_given = true;
      if (!read_count(value, arguments.idle_ms)) return usage("-i wants milliseconds, not ", value);
      return kDone;
  }
}

// "-e", "-vJ", "-cCOUNT", "-c COUNT", "-vc COUNT". `at` moves to the last argument used up.
int read_cluster(Arguments& arguments, char** argv, int& at) {
  for (const char* letter = argv[at] + 1; *letter != '\0'; ++letter) {
    if (*letter == 'e') arguments.end_when_idle = true;
    else if (*letter == 'J') arguments.json = true;
    else if (*letter == 'v') ++arguments.verbose;
    else if (*letter == 'h') arguments.help = true;
    else if (std::strchr("bgtcifAmX", *letter) == nullptr) {
      return usage("unknown option -", {letter, 1});
    } else if (letter[1] != '\0') {
      return set_value(arguments, *letter, letter + 1);
    } else if (argv[at + 1] == nullptr) {
      return usage("a value is missing behind -", {letter, 1});
    } else {
      return set_value(arguments, *letter, argv[++at]);
    }
  }
  return kDone;
}

int check(Arguments& arguments) {
  auto& options = arguments.options;
  if (options.bootstrap_servers.empty()) return usage("-b HOST:PORT is missing");
  if (options.group_id.empty()) return usage("-g GROUP is missing");
  if (arguments.topic_count == 0) return usage("-t TOPIC is missing");
  if (arguments.idle_given && !arguments.end_when_idle) return usage("-i is for -e");
  const bool implicit = options.acknowledgement_mode == kshare::AckMode::implicit_mode;
  if (arguments.ack != Ack::accept && implicit) {
    if (arguments.mode_given) return usage("-A release, reject and renew need -m explicit");
    options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  }
  // What is acquired beyond COUNT would only be given back, one delivery attempt poorer.
  if (arguments.count != 0 && arguments.count < options.max_poll_records) {
    options.max_poll_records = static_cast<int32_t>(arguments.count);
  }
  return kDone;
}

int read_arguments(Arguments& arguments, int argc, char** argv) {
  for (int at = 1; at < argc; ++at) {
    const std::string_view argument = argv[at];
    int result = kDone;
    if (argument == "--help") arguments.help = true;
    else if (argument.size() < 2 || argument[0] != '-') result = usage("what is ", argument);
    else result = read_cluster(arguments, argv, at);
    if (result != kDone || arguments.help) return result;
  }
  return check(arguments);
}

// ---- Records.

void print_headers(const Record& record) {
  bool more = false;
  for (const kshare::Header& header : record.headers) {
    if (more) out.put(',');
    more = true;
    out.put(header.key);
    out.put('=');
    out.put(header.value.is_null() ? std::string_view{"NULL"} : header.value.text());
  }
}

int64_t length(kshare::Bytes bytes) { return bytes.is_null() ? -1 : int64_t{bytes.size}; }

void print_token(const Record& record, char letter) {
  switch (letter) {
    case 't': return out.put(record.topic);
    case 'p': return out.put(int64_t{record.partition});
    case 'o': return out.put(record.offset);
    case 'k': return out.put(record.key.text());
    case 's': return out.put(record.value.text());
    case 'K': return out.put(length(record.key));
    case 'S': return out.put(length(record.value));
    case 'T': return out.put(record.timestamp);
    case 'h': return print_headers(record);
    default: return out.put(int64_t{record.delivery_count});  // d
  }
}

void print_record(const Record& record, const char* format) {
  Piece piece;
  for (const char* at = format; *at != '\0' && read_piece(at, piece);) {
    if (piece.letter == 0) out.put(piece.octet);
    else print_token(record, piece.letter);
  }
}

// ---- Connections: who could not be reached, until somebody could.

class Reachability {
 public:
  bool connected_once() const { return connected_once_; }

  void saw(const Event& event, bool quiet) {
    Peer* const peer = find(event.words());
    if (event.type == EventType::connected) {
      if (!connected_once_ && !quiet) print("; trying again");
      connected_once_ = true;
      if (peer != nullptr) *peer = Peer{};
      return;
    }
    if (peer == nullptr) return;
    peer->event = event;
    if (peer->failures++ == 0) peer->due = true;
    if (connected_once_ && !quiet) print("; trying again");
  }

  // Whether each of `count` addresses has refused often enough.
  bool all_refused(uint32_t count) const {
    uint32_t refused = 0;
    for (const Peer& peer : peers_) refused += peer.failures >= kRefusalsMax ? 1 : 0;
    return refused >= count;
  }

  // One line for each address that has not had one since it last failed; answers how many.
  uint32_t print(const char* end) {
    uint32_t lines = 0;
    for (Peer& peer : peers_) {
      if (!peer.due) continue;
      peer.due = false;
      ++lines;
      Complaint complaint;
      complaint << peer.event.words() << ": " << peer.event.status << end;
      complaint.print();
    }
    return lines;
  }

 private:
  struct Peer {
    Event event;
    uint32_t failures = 0;
    bool due = false;
  };

  // The peer of this name, or a place for it; nullptr if all places are taken.
  Peer* find(std::string_view name) {
    Peer* free = nullptr;
    for (Peer& peer : peers_) {
      if (peer.failures == 0) free = free == nullptr ? &peer : free;
      else if (peer.event.words() == name) return &peer;
    }
    return free;
  }

  Peer peers_[16];
  bool connected_once_ = false;
};

// Events that are worth a line without -v.
bool important(EventType type) {
  switch (type) {
    case EventType::rebootstrapping:
    case EventType::assignment_too_large:
    case EventType::leaders_too_many:
    case EventType::topic_missing:
    case EventType::topic_error:
    case EventType::partition_error:
    case EventType::record_too_large:
    case EventType::batch_corrupt:
    case EventType::batch_undecodable:
    case EventType::record_malformed:
    case EventType::lock_expired:
    case EventType::released_unseen:
    case EventType::renew_failed:
    case EventType::stalled:
    case EventType::acks_failed:
    case EventType::acks_unknown:
    case EventType::group_error: return true;
    case EventType::none:
    case EventType::connected:
    case EventType::connection_failed:
    case EventType::disconnected:
    case EventType::coordinator_found:
    case EventType::joined:
    case EventType::rejoining:
    case EventType::assignment_changed:
    case EventType::session_reset:
    case EventType::session_surplus:
    case EventType::failed: return false;  // failed: said at the end, with the broker's words
  }
  return true;
}

// ---- -v: what goes over the wire; -vv: what the state machines make of it.

void print_wire(void*, const kshare::WireEntry& entry) {
  char line[kshare::kLineBytes];
  const uint32_t size = kshare::format(entry, line, sizeof line);
  Complaint complaint;
  complaint << std::string_view{line, size};
  const char* const error = entry.error == 0 ? nullptr : kshare::kafka_error(entry.error).name;
  if (error != nullptr) complaint << " " << error;
  complaint.print();
}
void print_state(void*, const kshare::TraceEntry& entry) {
  using kshare::TraceKind;
  if (entry.kind == TraceKind::request || entry.kind == TraceKind::answer) return;  // print_wire
  char line[kshare::kLineBytes];
  Complaint complaint;
  complaint << std::string_view{line, kshare::format(entry, line, sizeof line)};
  complaint.print();
}

kshare::TracePool<kLimits, Network> traced{net, {print_wire, nullptr}};

kshare::TransportPool& pool_for(const Arguments& arguments) {
  if (arguments.verbose != 0) return traced;
  return net;
}

// ---- The tool.

enum class End : uint8_t { count, idle, signal, output, no_broker, failed };

class Cat {
 public:
  explicit Cat(const Arguments& arguments) : arguments_(arguments) {}

  int run() {
    began_ = net.now();
    const auto topics = kshare::Span<const std::string_view>{arguments_.topics,
                                                             arguments_.topic_count};
    Status status = consumer_.start(arguments_.options);
    if (status.ok()) status = consumer_.subscribe(topics);
    if (!status.ok()) {
      complain(status);
      return kUsage;
    }
    const int result = finish(take_all());
    if (arguments_.json) print_json();
    return result;
  }

 private:
  End take_all() {
    for (Instant now = net.now(); consumer_.poll(now); now = net.now()) {
      report_events();
      accept_renewed();
      const uint32_t taken = take(now);
      if (!out.flush()) return End::output;
      if (complete_ && !renews_some()) return End::count;
      if (stop_wanted != 0) return End::signal;
      if (taken != 0 || idle_since_ == kshare::kNever || renews_some()) {
        idle_since_ = consumer_.assignment_count() != 0 ? now : kshare::kNever;
      }
      const int64_t idle_ms = idle_left_ms(now);
      const int64_t broker_ms = broker_left_ms(now);
      if (idle_ms == 0) return End::idle;
      if (broker_ms == 0) return End::no_broker;
      if (taken == 0) net.wait(consumer_, broker_ms < 0 ? idle_ms : broker_ms);
    }
    return End::failed;
  }

  // Prints what is here, a bounded number of records, and says what becomes of each. None of these
  // acknowledgements leaves before the next poll().
  uint32_t take(Instant now) {
    Record record;
    batch_ = 0;
    while (batch_ < kBatchRecords && !complete_ && out.error() == 0 &&
           consumer_.next(record, now)) {
      if (first_record_ms_ < 0) first_record_ms_ = net.now() - began_;
      batch_ids_[batch_++] = last_id_ = record.id;
      print_record(record, arguments_.format);
      complete_ = ++printed_ == arguments_.count;
      if (explicit_mode()) acknowledge(record.id);
    }
    return batch_;
  }
  void acknowledge(kshare::RecordId id) {
    const Status status = consumer_.acknowledge(id, arguments_.ack);
    if (status.code != kshare::Errc::cannot_renew) return;
    static_cast<void>(consumer_.acknowledge(id, Ack::accept));
    if (cannot_renew_) return;
    cannot_renew_ = true;
    Complaint complaint;
    complaint << status << "; accepted without";
    complaint.print();
  }

  // -A renew: a record is accepted once its renewal has been answered.
  bool renews_some() const {
    return arguments_.ack == Ack::renew && consumer_.held_count() != 0;
  }
  void accept_renewed() {
    if (!renews_some()) return;
    kshare::HeldRecord held;
    for (uint32_t i = 0; i < consumer_.held_max(); ++i) {
      if (!consumer_.held(i, held) || held.renewing) continue;
      static_cast<void>(consumer_.acknowledge(held.id, Ack::accept));
    }
  }

  bool explicit_mode() const {
    return arguments_.options.acknowledgement_mode == kshare::AckMode::explicit_mode;
  }

  // Until -e ends this; -1: not in sight.
  int64_t idle_left_ms(Instant now) const {
    if (!arguments_.end_when_idle || idle_since_ == kshare::kNever) return -1;
    const int64_t idle_ms = now - idle_since_;
    return idle_ms < arguments_.idle_ms ? arguments_.idle_ms - idle_ms : 0;
  }
  // Until it is clear that there is no broker; -1: there has been one.
  int64_t broker_left_ms(Instant now) const {
    if (reachability_.connected_once()) return -1;
    const uint32_t addresses = kshare::bootstrap_count(arguments_.options.bootstrap_servers);
    const int64_t tried_ms = now - began_;
    if (reachability_.all_refused(addresses) || tried_ms >= kNoBrokerMs) return 0;
    return kNoBrokerMs - tried_ms;
  }

  int finish(End end) {
    int result = kDone;
    // Ended by hand: whether the group had been reached shows before close() leaves it.
    const Status status = consumer_.status();
    if (end == End::failed || (end == End::signal && !status.ok())) {
      complain(status);
      result = kNoGroup;
    }
    if (end == End::output) {
      // Nobody has seen these lines: they are for somebody else.
      for (uint32_t i = 0; i < batch_; ++i) {
        static_cast<void>(consumer_.acknowledge(batch_ids_[i], Ack::release));
      }
      result = explain_output();
    } else if (end == End::no_broker) {
      explain_no_broker();
      result = kNoGroup;
    } else if (end != End::failed && !explicit_mode() && printed_ != 0) {
      // No next record will be asked for. If it was settled before, this changes nothing.
      static_cast<void>(consumer_.acknowledge(last_id_, Ack::accept));
    }
    const int64_t close_ms = end == End::no_broker ? 0 : kCloseMs;
    if (end != End::failed) static_cast<void>(kshare::posix::close(consumer_, net, close_ms));
    report_events();
    return result;
  }

  static int explain_output() {
    if (out.error() == EPIPE || out.error() == EINTR) return kDone;  // head, less; a signal
    Complaint complaint;
    complaint << "cannot write to standard output: " << std::string_view{::strerror(out.error())};
    complaint.print();
    return kUsage;
  }

  void explain_no_broker() {
    if (reachability_.print("") != 0) return;
    Complaint complaint;
    complaint << arguments_.options.bootstrap_servers << ": no connection within 10 s";
    complaint.print();
  }

  void complain(Status status) {
    Complaint complaint;
    complaint << status;
    if (!consumer_.last_error().empty()) complaint << ": " << consumer_.last_error();
    complaint.print();
  }

  void report_events() {
    Event event;
    while (consumer_.next_event(event)) {
      const bool attempt = event.type == EventType::connected ||
                           event.type == EventType::connection_failed;
      const bool verbose = arguments_.verbose != 0;
      if (attempt) reachability_.saw(event, verbose);
      if (!verbose && !important(event.type)) continue;
      char line[kshare::kLineBytes];
      const uint32_t size = kshare::format(event, line, sizeof line);
      const bool again = size == said_ && std::memcmp(line, said_line_, size) == 0;
      if (again && !verbose) continue;
      std::memcpy(said_line_, line, size);
      said_ = size;
      Complaint complaint;
      complaint << std::string_view{line, size};
      complaint.print();
    }
  }

  void print_json() {
    const kshare::Stats& stats = consumer_.stats();
    const struct {
      const char* name;
      uint64_t value;
    } rows[] = {
        {"records", stats.records},         {"bytes", stats.bytes},
        {"redelivered", stats.redelivered}, {"acks_ok", stats.acks_ok},
        {"acks_failed", stats.acks_failed}, {"acks_unknown", stats.acks_unknown},
        {"gaps", stats.gaps},               {"released", stats.released},
        {"rejected", stats.rejected},       {"renewed", stats.renewed},
        {"renew_failed", stats.renew_failed}, {"expired", stats.expired},
        {"reread", stats.reread},
        {"reconnects", stats.reconnects},   {"bytes_received", stats.bytes_received},
    };
    char line[1024];
    TextOut text(line, sizeof line);
    text << "{";
    for (const auto& row : rows) {
      text << "\"" << row.name << "\":" << static_cast<int64_t>(row.value) << ",";
    }
    const int64_t ms = net.now() - began_;
    text << "\"seconds\":" << ms / 1000 << "." << ms / 100 % 10 << ms / 10 % 10 << ms % 10;
    text << ",\"first_record_ms\":" << first_record_ms_ << "}";
    line[text.size()] = '\n';
    static_cast<void>(write_all(STDERR_FILENO, line, text.size() + 1));
  }

  const Arguments& arguments_;
  kshare::ShareConsumer consumer_{storage, pool_for(arguments_)};
  Reachability reachability_;
  Instant began_{};
  Instant idle_since_ = kshare::kNever;  // kNever: nothing has been assigned yet
  int64_t first_record_ms_ = -1;
  int64_t printed_ = 0;
  bool complete_ = false;      // -c: all of them are printed
  bool cannot_renew_ = false;  // it has been said
  kshare::RecordId last_id_{};
  kshare::RecordId batch_ids_[kBatchRecords];  // printed since the last poll()
  uint32_t batch_ = 0;
  uint32_t said_ = 0;
  char said_line_[kshare::kLineBytes];  // the last event's line: a repeated one says nothing new
};

void handle_signals() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // a second one ends the process at once
  static_cast<void>(::sigaction(SIGINT, &action, nullptr));
  static_cast<void>(::sigaction(SIGTERM, &action, nullptr));
  action.sa_handler = SIG_IGN;
  action.sa_flags = 0;
  static_cast<void>(::sigaction(SIGPIPE, &action, nullptr));  // write() answers EPIPE instead
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  const int result = read_arguments(arguments, argc, argv);
  if (result != kDone) return result;
  if (arguments.help) {
    return write_all(STDOUT_FILENO, kHelp, sizeof kHelp - 1) == 0 ? kDone : kUsage;
  }
  if (arguments.verbose > 1) arguments.options.trace.function = print_state;
  handle_signals();
  net.use(dns);
  return Cat(arguments).run();
}
