// SPDX-License-Identifier: Apache-2.0
// What:        what a resolver is told: DnsConfig out of resolv.conf, addresses out of the hosts
//              file.
// Flow:        a file, or text of any kind, in pieces -> DnsWords -> HostsReader, ResolvReader ->
//              net/dns.hpp.
// Memory:      DnsConfig is the caller's, about 360 bytes; a word is gathered on the stack.
// Errors:      what makes no sense is passed over, as the C library does.
//
// Of resolv.conf: nameserver (also [ADDRESS]:PORT), search, domain, options ndots, timeout,
// attempts, rotate. Not done: sortlist, the domain of the host's own name, RES_OPTIONS.
#ifndef KSHARE_NET_DNS_CONFIG_HPP
#define KSHARE_NET_DNS_CONFIG_HPP

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <string_view>

#include "kshare/base/bytes.hpp"
#include "kshare/net/dns_message.hpp"
#include "kshare/net/posix_address.hpp"

namespace kshare::posix {

inline constexpr uint32_t kDnsServersMax = 3;
inline constexpr uint32_t kDnsFileBytesMax = 65536;  // more of a file is not looked at

struct DnsServer {
  Address address;
  uint16_t port = 0;
};

struct DnsConfig {
  DnsServer servers[kDnsServersMax]{};
  uint8_t server_count = 0;
  uint8_t ndots = 0;
  uint8_t attempts = 0;     // how often each server is asked
  bool rotate = false;      // each lookup begins with another server
  uint16_t timeout_ms = 0;  // for the first attempt; each further one takes twice as long
  uint16_t search_bytes = 0;
  char search[256] = {};  // domains, a NUL behind each

  // Domain i of the search list, empty behind the last.
  std::string_view domain(uint32_t i) const {
    uint32_t at = 0;
    while (at < search_bytes) {
      const std::string_view one{search + at};
      if (i-- == 0) return one;
      at += static_cast<uint32_t>(one.size()) + 1;
    }
    return {};
  }
  uint32_t domain_count() const {
    uint32_t count = 0;
    while (!domain(count).empty()) ++count;
    return count;
  }
};

// Cuts text that comes in pieces into words and lines; # or ; at the start of a word makes the rest
// of the line a comment. A word that is too long for anything meant here is cut.
class DnsWords {
 public:
  // Calls each(word, index of the word in its line).
  template <class Each>
  void feed(Bytes piece, Each&& each) {
    for (uint8_t octet : piece) put(static_cast<char>(octet), each);
  }
  template <class Each>
  void end(Each&& each) {
    put('\n', each);
  }

 private:
  template <class Each>
  void put(char c, Each& each) {
    const bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\0';
    if (blank || comment_) {
      if (size_ != 0) each(std::string_view{word_, size_}, index_++);
      size_ = 0;
      if (c == '\n') {
        index_ = 0;
        comment_ = false;
      }
    } else if (size_ == 0 && (c == '#' || c == ';')) {
      comment_ = true;
    } else if (size_ < sizeof word_) {
      word_[size_++] = c;
    }
  }

  uint32_t size_ = 0;
  uint32_t index_ = 0;
  bool comment_ = false;
  char word_[kDnsNameMax + 3];
};

template <class Each>
void read_dns_text(std::string_view text, Each&& each) {
  DnsWords words;
  words.feed(as_bytes(text), each);
  words.end(each);
}

inline std::string_view without_last_dot(std::string_view name) {
  if (!name.empty() && name.back() == '.') name.remove_suffix(1);
  return name;
}

// Lines of a hosts file: calls add(address) for those that name `name`.
class HostsReader {
 public:
  explicit HostsReader(std::string_view name) : name_(name) {}

  template <class Add>
  void take(std::string_view word, uint32_t index, Add&& add) {
    if (index == 0) {
      sound_ = parse_address(word, address_);
    } else if (sound_ && same_dns_name(without_last_dot(word), name_)) {
      add(address_);
      sound_ = false;  // once a line
    }
  }

 private:
  std::string_view name_;
  Address address_{};
  bool sound_ = false;
};

// ADDRESS, or [ADDRESS]:PORT.
inline bool parse_dns_server(std::string_view text, uint16_t port, DnsServer& out) {
  out.port = port;
  if (!text.empty() && text.front() == '[' && text.back() != ']') {
    uint32_t number = 0;
    uint32_t scale = 1;
    while (!text.empty() && text.back() >= '0' && text.back() <= '9' && scale <= 10000) {
      number += static_cast<uint32_t>(text.back() - '0') * scale;
      scale *= 10;
      text.remove_suffix(1);
    }
    if (text.size() < 2 || text.back() != ':' || number == 0 || number > UINT16_MAX) return false;
    text.remove_suffix(1);
    if (text.back() != ']') return false;
    out.port = static_cast<uint16_t>(number);
  }
  return parse_address(text, out.address);
}

// Lines of resolv.conf into a DnsConfig.
class ResolvReader {
 public:
  // `port` is for servers that do not name one.
  ResolvReader(DnsConfig& out, uint16_t port) : out_(out), port_(port) {
    out_ = DnsConfig{};
    out_.ndots = 1;
    out_.attempts = 3;
    out_.timeout_ms = 1000;
  }

  void take(std::string_view word, uint32_t index) {
    if (index == 0) {
      key_ = word == "nameserver" ? Key::server : word == "options" ? Key::options : Key::other;
      if (word == "search" || word == "domain") {  // the last of these lines counts
        key_ = Key::search;
        out_.search_bytes = 0;
      }
    } else if (key_ == Key::server && index == 1) {
      add_server(word);
    } else if (key_ == Key::search) {
      add_domain(word);
    } else if (key_ == Key::options) {
      take_option(word);
    }
  }
  void add_server(std::string_view text) {
    DnsServer server;
    if (out_.server_count == kDnsServersMax || !parse_dns_server(text, port_, server)) return;
    out_.servers[out_.server_count++] = server;
  }

 private:
  enum class Key : uint8_t { other, server, search, options };

  // What does not fit is not searched.
  void add_domain(std::string_view word) {
    const std::string_view name = without_last_dot(word);
    const auto room = static_cast<uint32_t>(sizeof out_.search - out_.search_bytes);
    if (!is_dns_name(name) || name.size() + 1 > room) return;
    const uint32_t end = out_.search_bytes + copy_text(out_.search + out_.search_bytes, room, name);
    out_.search[end] = '\0';
    out_.search_bytes = static_cast<uint16_t>(end + 1);
  }

  // "name:12" -> 12, held to a range; false: another option.
  static bool number_of(std::string_view word, std::string_view name, uint32_t min, uint32_t max,
                        uint32_t& out) {
    if (word.size() <= name.size()) return false;
    if (std::memcmp(word.data(), name.data(), name.size()) != 0) return false;
    word.remove_prefix(name.size());
    uint32_t number = 0;
    for (char c : word) {
      if (c < '0' || c > '9') return false;
      if (number < 1000) number = number * 10 + static_cast<uint32_t>(c - '0');
    }
    out = number < min ? min : number > max ? max : number;
    return true;
  }
  void take_option(std::string_view word) {
    uint32_t number = 0;
    if (number_of(word, "ndots:", 0, 15, number)) out_.ndots = static_cast<uint8_t>(number);
    if (number_of(word, "attempts:", 1, 5, number)) out_.attempts = static_cast<uint8_t>(number);
    if (number_of(word, "timeout:", 1, 30, number)) {
      out_.timeout_ms = static_cast<uint16_t>(number * 1000);
    }
    if (word == "rotate") out_.rotate = true;
  }

  DnsConfig& out_;
  uint16_t port_;
  Key key_ = Key::other;
};

// Reads a file in pieces and calls each(word, index in its line); the errno if it cannot be opened.
template <class Each>
int read_dns_file(const char* path, Each&& each) {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return errno;
  uint8_t piece[256];
  DnsWords words;
  for (uint32_t taken = 0; taken < kDnsFileBytesMax;) {
    const ssize_t count = ::read(fd, piece, sizeof piece);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      words.end(each);  // not where the file is cut: half a name is another name
      break;
    }
    words.feed({piece, static_cast<uint32_t>(count)}, each);
    taken += static_cast<uint32_t>(count);
  }
  static_cast<void>(::close(fd));
  return 0;
}

// A number that changes when the file does; 0: there is none.
inline uint64_t dns_file_stamp(const char* path) {
  struct stat about = {};
  if (::stat(path, &about) != 0) return 0;
  const uint64_t parts[] = {static_cast<uint64_t>(about.st_mtim.tv_sec),
                            static_cast<uint64_t>(about.st_mtim.tv_nsec), about.st_ino,
                            static_cast<uint64_t>(about.st_size)};
  uint64_t stamp = 1;
  for (uint64_t part : parts) stamp = (stamp ^ part) * 0x9E3779B97F4A7C15u;
  return stamp | 1;
}

}  // namespace kshare::posix

#endif  // KSHARE_NET_DNS_CONFIG_HPP
