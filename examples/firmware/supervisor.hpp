// SPDX-License-Identifier: Apache-2.0
// What:        whoever watches over this program: systemd, told in its own words over the socket
//              that NOTIFY_SOCKET names, and a hardware watchdog.
// Flow:        the loop -> feed() -> "WATCHDOG=1", and an octet to the device.
// Memory:      two descriptors and a socket's name.
// Errors:      nothing here waits for long: for what must be heard (READY, STOPPING) a second at
//              most. A feed that systemd has no room for is sent again soon, a device that is
//              missing is opened as soon as it is there.
//
// A watchdog is fed by the loop and by nothing else: a timer or a thread of its own would feed it
// while the loop hangs.
#ifndef GATEWAY_SUPERVISOR_HPP
#define GATEWAY_SUPERVISOR_HPP

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "kshare/base/text.hpp"
#include "kshare/base/time.hpp"
#include "log.hpp"

namespace gateway {

class Supervisor {
 public:
  // `device` may be nullptr. Nothing is opened before the first feed().
  void begin(const char* device, int64_t device_feed_ms) {
    find_socket(::getenv("NOTIFY_SOCKET"));
    const int64_t watchdog_ms = address_size_ == 0 ? 0 : systemd_watchdog_ms();
    systemd_feeds_ = watchdog_ms != 0;
    feed_ms_ = watchdog_ms / 2;
    device_ = device;
    if (systemd_feeds_ && feed_ms_ == 0) feed_ms_ = 1;
    const bool sooner = feed_ms_ == 0 || device_feed_ms < feed_ms_;
    if (device != nullptr && sooner) feed_ms_ = device_feed_ms;
  }

  // In each turn of the loop; it does something when it is time.
  void feed(kshare::Instant now) {
    if (feed_ms_ == 0 || now < due_) return;
    due_ = now + feed_ms_;
    if (device_ != nullptr) feed_device();
    if (systemd_feeds_ && !tell("WATCHDOG=1")) due_ = now + earlier_ms(kAgainMs);
  }
  // The loop may sleep so long; -1: for ever.
  int64_t wait_ms(kshare::Instant now) const {
    if (feed_ms_ == 0) return -1;
    return due_ < now ? 0 : due_ - now;
  }

  void ready() { static_cast<void>(tell("READY=1\nSTATUS=starting", kWait)); }
  void stopping() { static_cast<void>(tell("STOPPING=1\nSTATUS=stopping", kWait)); }
  void status(std::string_view words) {
    char text[kshare::kLineBytes];
    kshare::TextOut out(text, sizeof text);
    out << "STATUS=" << words;
    static_cast<void>(tell(text));
  }

  // The program ends in good order: the device is not to reset the board.
  void end() {
    if (device_plus_one_ == 0) return;
    write_all(device_plus_one_ - 1, "V", 1);
    static_cast<void>(::close(device_plus_one_ - 1));
    device_plus_one_ = 0;
  }

 private:
  static constexpr int64_t kAgainMs = 50;
  static constexpr int kWait = 0;  // until there is room, a second at most

  int64_t earlier_ms(int64_t ms) const { return ms < feed_ms_ ? ms : feed_ms_; }

  // A path, or '@' and a name that is no file.
  void find_socket(const char* name) {
    if (name == nullptr) return;
    const size_t size = std::strlen(name);
    if ((name[0] != '/' && name[0] != '@') || size < 2 || size >= sizeof address_.sun_path) {
      Line(Level::warning) << "NOTIFY_SOCKET is no address that can be used: " << name;
      return;
    }
    fd_plus_one_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) + 1;
    if (fd_plus_one_ == 0) return;
    const timeval second = {1, 0};
    static_cast<void>(::setsockopt(fd_plus_one_ - 1, SOL_SOCKET, SO_SNDTIMEO, &second,
                                   sizeof second));
    address_.sun_family = AF_UNIX;
    std::memcpy(address_.sun_path, name, size);
    if (name[0] == '@') address_.sun_path[0] = '\0';
    address_size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size);
  }

  // WATCHDOG_USEC, unless it is meant for another process; 0: there is none.
  static int64_t systemd_watchdog_ms() {
    const int64_t whose = number_of(::getenv("WATCHDOG_PID"));
    if (whose != 0 && whose != ::getpid()) return 0;
    const int64_t microseconds = number_of(::getenv("WATCHDOG_USEC"));
    return microseconds == 0 ? 0 : microseconds < 1000 ? 1 : microseconds / 1000;
  }
  static int64_t number_of(const char* text) {
    int64_t value = 0;
    for (; text != nullptr && *text >= '0' && *text <= '9' && value < INT64_MAX / 100; ++text) {
      value = value * 10 + (*text - '0');
    }
    return value;
  }

  bool tell(const char* words, int how = MSG_DONTWAIT) {
    if (address_size_ == 0) return true;
    const auto* to = reinterpret_cast<const sockaddr*>(&address_);
    return ::sendto(fd_plus_one_ - 1, words, std::strlen(words), how | MSG_NOSIGNAL, to,
                    address_size_) >= 0;
  }

  void feed_device() {
    if (device_plus_one_ == 0) {
      device_plus_one_ = ::open(device_, O_WRONLY | O_CLOEXEC) + 1;
      const int error = device_plus_one_ == 0 ? errno : 0;
      if (error != 0 && error != told_) {
        Line(Level::error) << "watchdog " << device_ << " cannot be opened: errno " << error
                           << "; trying again";
      }
      told_ = error;
    }
    if (device_plus_one_ != 0) write_all(device_plus_one_ - 1, "", 1);  // a NUL: anything but 'V'
  }

  sockaddr_un address_{};
  socklen_t address_size_ = 0;  // 0: nobody to tell
  int fd_plus_one_ = 0;
  const char* device_ = nullptr;
  int device_plus_one_ = 0;
  int told_ = 0;  // the errno that the log has
  bool systemd_feeds_ = false;
  int64_t feed_ms_ = 0;  // 0: nobody to feed
  kshare::Instant due_{};
};

}  // namespace gateway

#endif  // GATEWAY_SUPERVISOR_HPP
