// SPDX-License-Identifier: Apache-2.0
// What:        the command language of kshare_minibroker: one line in, one answer out.
// Flow:        line -> Words -> a row of the table -> Broker and TcpFront -> answer.
// Memory:      what the Broker keeps.
// Valid until: the Broker and the TcpFront must outlive it.
// Errors:      an answer "error: ..." that says what is right; nothing was changed then.
//
// An answer ends with a line that begins with "ok" or "error"; lines before it begin with a blank.
#ifndef MINIBROKER_COMMANDS_HPP
#define MINIBROKER_COMMANDS_HPP

#include <chrono>
#include <string>
#include <vector>

#include "broker/tcp_front.hpp"
#include "names.hpp"
#include "settings.hpp"
#include "words.hpp"

namespace minibroker {

class Commands {
 public:
  Commands(Broker& broker, TcpFront& front) : broker_(broker), front_(front) {}

  // Without a line feed at the end; empty for an empty line and for a "# comment".
  std::string obey(const std::string& line);

  // The commands there are, or only this one.
  static std::string list(const std::string& only);

  // Appends lines as records without key, to the topic's partitions in turn.
  void spread(const std::string& topic, const std::vector<std::string>& lines);
  void check_topic(const std::string& name) const { static_cast<void>(partitions_of(name)); }

 private:
  using Run = std::string (Commands::*)(Words&);
  struct Row {
    const char* name;
    const char* words;
    const char* what;
    Run run;
  };
  struct Place {
    std::string topic;
    int partition;
  };
  static const std::vector<Row>& table();
  static std::string usage(const Row& row) {
    return row.name + std::string(*row.words != '\0' ? " " : "") + row.words;
  }

  // What commands have in common.
  int partitions_of(const std::string& topic) const;
  std::string topic_word(Words& w) const;
  Place place(Words& w) const;
  int node(Words& w) const;
  int node_or_none(Words& w) const;
  static int16_t api(Words& w);
  static int16_t code(Words& w);
  static int times(Words& w);  // 1, a number, or always
  std::vector<std::string> member_words(Words& w, std::string& group);
  static std::string ok() { return "ok"; }
  static std::string ok(int64_t number) { return "ok " + std::to_string(number); }

  // commands_data.hpp
  static Rec record(const std::optional<std::string>& key, const std::optional<std::string>& value);
  std::vector<Rec> generated(const Place& at, int64_t count, int64_t size) const;
  std::string topic(Words& w);
  std::string partitions(Words& w);
  std::string delete_topic(Words& w);
  std::string append(Words& w);
  std::string value(Words& w);
  std::string add_record(Words& w);
  std::string lines(Words& w);
  std::string corrupt(Words& w);
  std::string transaction(Words& w);
  std::string compact(Words& w);
  std::string trim(Words& w);
  std::string stable(Words& w);
  // commands_faults.hpp
  std::string lock(Words& w);
  std::string limit(Words& w);
  std::string config(Words& w);
  std::string expel(Words& w);
  std::string forget(Words& w);
  std::string drop_session(Words& w);
  std::string share(Words& w);
  std::string error(Words& w);
  using PartitionFault = void (Broker::*)(const std::string&, int, int16_t, int);
  std::string partition_error(Words& w, PartitionFault fault);
  std::string fetch_error(Words& w);
  std::string ack_error(Words& w);
  std::string lose(Words& w);
  std::string cut(Words& w);
  std::string hide(Words& w);
  std::string move(Words& w);
  std::string coordinator(Words& w);
  std::string stop(Words& w);
  std::string start(Words& w);
  std::string cluster(Words& w);
  std::string drop(Words& w);
  std::string stall(Words& w);
  std::string delay(Words& w);
  std::string throttle(Words& w);
  std::string advance(Words& w);
  std::string clear(Words& w);
  // commands_state.hpp
  std::string help(Words& w);
  std::string state(Words& w);
  std::string whole_state() const;
  std::string group_state(const std::string& group) const;
  std::string record_state(Words& w);
  std::string offsets(Words& w);
  std::string leader(Words& w);
  std::string members(Words& w);
  std::string member_lines(const std::string& group) const;
  std::string requests(Words& w);
  std::string violations(Words& w);

  Broker& broker_;
  TcpFront& front_;
};

inline const std::vector<Commands::Row>& Commands::table() {
  using C = Commands;
  static const std::vector<Row> rows = {
      {"topic", "NAME [PARTITIONS]", "makes a topic", &C::topic},
      {"partitions", "TOPIC COUNT", "gives it more, COUNT in all", &C::partitions},
      {"delete", "TOPIC", "deletes it; made again, it has another id", &C::delete_topic},
      {"append", "TOPIC PARTITION COUNT [SIZE] [HOLE]",
       "one batch, values 'OFFSET xx...' of SIZE bytes, HOLE offsets missing behind it; ok FIRST",
       &C::append},
      {"value", "TOPIC PARTITION TEXT", "a record; its value is the rest of the line; ok OFFSET",
       &C::value},
      {"record", "TOPIC PARTITION [key=K] [value=V] [NAME:V]...",
       "a record with key, value, headers; \"...\" for blanks, \\n \\xHH inside; ok OFFSET",
       &C::add_record},
      {"lines", "TOPIC FILE", "a record for each line, partitions in turn; ok COUNT", &C::lines},
      {"corrupt", "TOPIC PARTITION", "a batch of one record with a wrong CRC; ok OFFSET",
       &C::corrupt},
      {"transaction", "TOPIC PARTITION commit|abort COUNT [SIZE]",
       "a transactional batch and the marker that ends it; ok FIRST", &C::transaction},
      {"compact", "TOPIC PARTITION FIRST LAST", "takes the batches away that lie within",
       &C::compact},
      {"trim", "TOPIC PARTITION OFFSET", "the log starts there, as after DeleteRecords", &C::trim},
      {"stable", "TOPIC PARTITION OFFSET|none", "the last stable offset, for read_committed",
       &C::stable},

      {"lock", "GROUP MS", "share.record.lock.duration.ms", &C::lock},
      {"limit", "GROUP COUNT", "share.delivery.count.limit", &C::limit},
      {"config", "GROUP NAME VALUE", "any setting of a group, by Kafka's name", &C::config},
      {"expel", "GROUP MEMBER|all", "the next heartbeat answers UNKNOWN_MEMBER_ID", &C::expel},
      {"forget", "GROUP", "the next heartbeat answers GROUP_ID_NOT_FOUND", &C::forget},
      {"drop-session", "GROUP MEMBER|all", "the next share request: SHARE_SESSION_NOT_FOUND",
       &C::drop_session},
      {"share", "on|off", "off: share.version 0, UNSUPPORTED_VERSION", &C::share},

      {"error", "API CODE [COUNT|always]", "answers the next ones with an error; NONE ends it",
       &C::error},
      {"fetch-error", "TOPIC PARTITION CODE [COUNT|always]", "ShareFetch, of one partition",
       &C::fetch_error},
      {"ack-error", "TOPIC PARTITION CODE [COUNT|always]", "acknowledgements, of one partition",
       &C::ack_error},
      {"lose", "API [COUNT|always]", "does what is asked, but the answer never comes", &C::lose},
      {"cut", "API [COUNT|always]", "does what is asked, then hangs up without an answer", &C::cut},
      {"hide", "COUNT [THROTTLE-MS]", "ShareFetch acquires, but tells nothing (quota)", &C::hide},
      {"move", "TOPIC PARTITION NODE|none [nohint]",
       "a new leader; nohint: the old one does not name it", &C::move},
      {"coordinator", "NODE|none", "of all groups", &C::coordinator},
      {"stop", "NODE", "it refuses connections; others lead what it led", &C::stop},
      {"start", "NODE", "it is back", &C::start},
      {"cluster", "ID", "it has this id now, as when another one took over the addresses",
       &C::cluster},
      {"drop", "[NODE]", "hangs up on everybody; ok COUNT", &C::drop},
      {"stall", "MS [NODE]", "nothing is read or answered for so long", &C::stall},
      {"delay", "MS", "every answer leaves so much later; 0 ends it", &C::delay},
      {"throttle", "MS", "ThrottleTimeMs of every answer; 0 ends it", &C::throttle},
      {"advance", "MS", "the clock jumps: locks and silent members run out", &C::advance},
      {"clear", "", "ends all faults above that are still to come", &C::clear},

      {"state", "[GROUP TOPIC PARTITION]",
       "everything; or ok AVAILABLE ACQUIRED ACKNOWLEDGED ARCHIVED", &C::state},
      {"record-state", "GROUP TOPIC PARTITION OFFSET", "ok STATE DELIVERY-COUNT [MEMBER]",
       &C::record_state},
      {"offsets", "TOPIC PARTITION", "ok START END", &C::offsets},
      {"leader", "TOPIC PARTITION", "ok NODE EPOCH; no leader: -1", &C::leader},
      {"members", "GROUP", "the members and what is assigned to them; ok COUNT", &C::members},
      {"requests", "[API]", "how many came; ok COUNT", &C::requests},
      {"violations", "", "what no correct client does; ok COUNT", &C::violations},
      {"help", "[COMMAND]", "this list", &C::help},
  };
  return rows;
}

inline std::string Commands::obey(const std::string& line) {
  Words w(line);
  if (w.empty() || line[line.find_first_not_of(" \t")] == '#') return "";
  const Row* row = nullptr;
  std::string answer;
  try {
    const std::string name = w.next("a command");
    for (const Row& r : table()) {
      if (name == r.name) row = &r;
    }
    if (row == nullptr) throw Complaint{"no command " + quote(name) + "; help lists them"};
    return (this->*row->run)(w);
  } catch (const Complaint& complaint) {
    answer = "error: " + complaint.text;
  }
  if (row != nullptr) answer += "; usage: " + usage(*row);
  for (char& c : answer) c = c == '\n' || c == '\r' ? ' ' : c;
  return answer;
}

// --- words with a meaning -------------------------------------------------------------------

inline int Commands::partitions_of(const std::string& topic) const {
  const auto t = broker_.topics().find(topic);
  if (t != broker_.topics().end()) return static_cast<int>(t->second.partitions.size());
  std::string all;
  for (const auto& entry : broker_.topics()) all += (all.empty() ? "" : ", ") + entry.first;
  throw Complaint{"no topic " + quote(topic) + "; there is " + (all.empty() ? "none" : all)};
}

inline std::string Commands::topic_word(Words& w) const {
  const std::string name = w.next("TOPIC");
  check_topic(name);
  return name;
}

inline Commands::Place Commands::place(Words& w) const {
  const std::string name = topic_word(w);
  return {name, w.small("PARTITION", 0, partitions_of(name) - 1)};
}

inline int Commands::node(Words& w) const {
  const std::vector<int> ids = broker_.node_ids();
  return w.small("NODE", ids.front(), ids.back());
}

inline int Commands::node_or_none(Words& w) const {
  const std::string word = w.next("NODE");
  if (word == "none") return -1;
  const std::vector<int> ids = broker_.node_ids();
  return static_cast<int>(to_number(word, "NODE", ids.front(), ids.back()));
}

inline int16_t Commands::api(Words& w) {
  const std::string word = w.next("API");
  if (const auto key = api_named(word)) return *key;
  throw Complaint{"no API " + quote(word) + "; there are " + api_list()};
}

inline int16_t Commands::code(Words& w) {
  const std::string word = w.next("CODE");
  if (const auto error = error_named(word)) return *error;
  throw Complaint{"CODE is a number or Kafka's name, such as NOT_LEADER_OR_FOLLOWER, not " +
                  quote(word)};
}

inline int Commands::times(Words& w) {
  if (w.empty()) return 1;
  const std::string word = w.next("COUNT");
  const int count = word == "always" ? INT32_MAX
                                     : static_cast<int>(to_number(word, "COUNT", 0, INT32_MAX));
  w.end();
  return count;
}

}  // namespace minibroker

#include "commands_data.hpp"
#include "commands_faults.hpp"
#include "commands_state.hpp"

#endif  // MINIBROKER_COMMANDS_HPP
