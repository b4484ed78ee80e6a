// SPDX-License-Identifier: Apache-2.0
// What:        the mini broker: a cluster that speaks the share-group protocol, in memory.
// Flow:        bytes -> input() -> answers in take_output(); append() and tick() finish long polls.
// Memory:      everything stays until the Broker ends, closed connections until disconnect().
// Valid until: references that accessors give hold until the next call that changes the Broker.
// Errors:      malformed bytes close the connection; what no correct client does: violations().
#ifndef MINIBROKER_BROKER_HPP
#define MINIBROKER_BROKER_HPP

#include "messages.hpp"

namespace minibroker {

class Broker {
 public:
  explicit Broker(Config config);
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;

  // --- topics and data. Times only grow; calls without one use the latest seen.
  Uuid add_topic(const std::string& name, int partitions, int64_t now = 0);
  void add_partitions(const std::string& name, int count);
  void delete_topic(const std::string& name);
  // One batch; gives its base offset. Aborted and control batches by option.
  int64_t append(const std::string& topic, int partition, const std::vector<Rec>& records,
                 BatchOptions options = {});
  void append_raw(const std::string& topic, int partition, const std::string& batch_bytes,
                  int64_t base, int64_t last);
  void set_log_start(const std::string& topic, int partition, int64_t offset);
  void set_stable_end(const std::string& topic, int partition, int64_t offset);  // -1: none
  void remove_batches(const std::string& topic, int partition, int64_t first, int64_t last);

  // --- connections
  int connect(int node, int64_t now);  // -1: refused, the node is down
  void disconnect(int conn, int64_t now);
  void input(int conn, const void* data, size_t n, int64_t now);
  std::string take_output(int conn);
  bool closed(int conn) const;
  void tick(int64_t now);
  int64_t next_deadline() const;  // INT64_MAX: none. An early tick() does no harm.

  // --- faults
  // Node -1: no leader. Without `hint` the old leader does not say which the new one is.
  void move_leader(const std::string& topic, int partition, int node, bool hint = true);
  void move_coordinator(int node);
  void name_coordinator(int asked, int named);  // FindCoordinator lies; -1: truth
  void stop_node(int node, int64_t now);
  void start_node(int node);
  void set_cluster_id(const std::string& id) { config_.cluster_id = id; }
  void set_node_address(int node, const std::string& host, int port);
  void close_connection(int conn, int64_t now);  // the broker hangs up
  void fail_next(int16_t api_key, int16_t error, int times = 1);
  void fail_partition(const std::string& topic, int partition, int16_t error, int times = 1);
  void fail_acks(const std::string& topic, int partition, int16_t error, int times = 1);
  // The next requests of this API are served, but the answer never comes; with `cut` the broker
  // hangs up in its place.
  void lose_answers(int16_t api_key, int times, bool cut);
  void clear_faults(int16_t api_key);  // what fail_next() and lose_answers() have left
  void hide_next_fetch(int times, int64_t throttle_ms);  // acquires, tells nothing (quota)
  void drop_session(const std::string& group, const std::string& member);  // next request: 122
  void set_throttle(int64_t ms) { config_.throttle_ms = ms; }
  void set_share_enabled(bool on) { config_.share_enabled = on; }

  // --- inspection
  RecordState state_of(const std::string& group, const std::string& topic, int partition,
                       int64_t offset) const;
  int64_t start_offset(const std::string& group, const std::string& topic, int partition) const;
  // Settled ones are counted for ever; those no member was ever given are available.
  StateCounts counts(const std::string& group, const std::string& topic, int partition) const;
  const Topics& topics() const { return topics_; }
  std::vector<std::string> groups() const;  // that ever had a member
  int64_t end_offset(const std::string& topic, int partition) const;
  int leader_of(const std::string& topic, int partition) const;
  Uuid topic_id(const std::string& topic) const;
  Endpoint endpoint(int node) const;
  std::vector<int> node_ids() const;
  bool node_up(int node) const { return nodes_.at(node).up; }
  int coordinator() const { return coordinator_node_; }
  int sessions(int node) const;
  int open_connections() const;
  std::vector<int> connections(int node) const;  // the live ones; node -1: of all
  int64_t requests(int16_t api_key) const;
  int64_t introductions() const { return introductions_; }  // ApiVersions that name the broker
  int64_t requests_total() const;
  const std::vector<std::string>& violations() const { return violations_; }
  const std::vector<std::string>& notes() const { return notes_; }  // legal but pointless requests
  GroupSettings& group_settings(const std::string& group);
  Coordinator& group_coordinator() { return groups_; }
  const Coordinator& group_coordinator() const { return groups_; }
  const Config& config() const { return config_; }
  int64_t now() const { return now_; }

  // --- hooks. on_response may change the frame (size included); false: it is never sent.
  std::function<bool(int api_key, std::string& response_frame)> on_response;
  std::function<void(const AckEvent&)> on_ack;
  std::function<void(const AcquireEvent&)> on_acquire;
  std::function<void(const std::string& group, int64_t offsets)> on_skip;  // they were aborted

 private:
  using SessionKey = std::pair<std::string, std::string>;  // group, member
  struct SessionPart {
    TopicPartition tp;
    bool must_answer;  // listed in the next answer even without data
  };
  struct Session {
    int conn = -1;
    int32_t epoch = 1;  // the one expected next
    std::vector<SessionPart> parts;
  };
  struct Node {
    bool up = true;
    std::string host;
    int port = 0;
    std::map<SessionKey, Session> sessions;
  };
  struct Shared {
    explicit Shared(const SharePartition& s) : state(s) {}
    SharePartition state;
    int node = -1;          // the broker that has it loaded
    int64_t read_at = -1;   // where the log was read last for it
    bool unloaded = false;  // once at least: members may know more of it than the broker
  };
  struct AckResult {
    TopicPartition tp;
    int16_t error;
    bool idle;  // listed without batches
  };
  struct Poll {  // a request that waits: ShareFetch, Fetch, or a delayed answer
    RequestHeader header;
    int64_t sequence = 0;
    int64_t deadline = 0;
    bool tried = false;
    ShareRequest share;
    std::vector<TopicPartition> parts;
    std::vector<AckResult> acks;
    FetchRequest fetch;
    std::optional<std::string> delayed;
  };
  struct Conn {
    int node = -1;
    bool open = true;   // the client's end
    bool alive = true;  // the broker's end
    bool excused = false;  // the broker made its session go wrong
    std::string in, out;
    size_t scanned = 0;      // bytes of `in` whose frames were counted
    int share_unanswered = 0;  // share requests received, answers not taken yet
    int share_answers = 0;     // of these, answers in `out`
    std::set<SessionKey> opened;
    std::optional<Poll> poll;
  };
  struct Fault {
    int16_t error;
    int times;
  };

  // broker_core.hpp
  void advance_to(int64_t now);
  void serve(int id);
  void count_frames(int id);
  void handle(int id, const std::string& frame);
  bool version_served(int16_t key, int16_t version) const;
  void send(int id, const RequestHeader& h, const std::string& body, bool flexible = true);
  void hang_up(int id);
  void end_sessions(int id);
  void malformed(int id, const std::string& what);
  void violate(int id, const std::string& what);
  int16_t injected(int id, int16_t key);
  void wake(const TopicPartition& tp);
  void run();
  // broker_admin.hpp
  PartitionLog* log_of(const TopicPartition& tp);
  PartitionLog& log_of(const std::string& topic, int partition);
  void unload(const TopicPartition& tp);
  void pick_leader(PartitionLog& log);
  bool share_groups_on() const { return config_.share_enabled && config_.share_version >= 1; }
  void handle_api_versions(int id, const RequestHeader& h, Reader& in);
  void encode_features(Writer& w, int16_t version) const;
  void handle_metadata(int id, const RequestHeader& h, Reader& in);
  void encode_topic(Writer& w, const Topic* topic, const Uuid& id,
                    const std::optional<std::string>& name, int16_t error) const;
  void handle_find_coordinator(int id, const RequestHeader& h, Reader& in);
  void handle_heartbeat(int id, const RequestHeader& h, Reader& in);
  // broker_share.hpp
  void handle_share_fetch(int id, const RequestHeader& h, Reader& in);
  void handle_share_acknowledge(int id, const RequestHeader& h, Reader& in);
  int16_t check_share(int id, const RequestHeader& h, const ShareRequest& q);
  int16_t step_fetch_session(int id, const ShareRequest& q);
  int16_t open_session(int id, const ShareRequest& q);
  int16_t check_session(int id, const ShareRequest& q);
  void update_session(Session& s, const ShareRequest& q);
  void release_session(int node, const SessionKey& key);
  void unload_empty_group(int node, const std::string& group);
  int16_t check_batches(int id, int16_t version, const ShareRequest& q, const SharePart& p);
  std::vector<AckResult> apply_acks(int id, int16_t version, const ShareRequest& q);
  int16_t check_part(int id, int16_t version, const ShareRequest& q, const SharePart& p);
  int16_t apply_part(int id, const ShareRequest& q, const SharePart& p);
  bool settle(const ShareRequest& q);
  static bool broken(const std::vector<AckResult>& acks);
  void share_error(int id, const RequestHeader& h, int16_t error, int64_t delay_ms = 0);
  // broker_fetch.hpp
  struct Ready {  // a partition that can be acquired from, and where
    TopicPartition tp;
    Shared* share;
    const PartitionLog* log;
    bool known;  // the log was read at this offset before
    Slice slice;
  };
  bool committed(const ShareRequest& q) const { return settings_.at(*q.group).read_committed; }
  size_t max_bytes(const ShareRequest& q) const {
    return static_cast<size_t>(std::min(q.max_bytes, config_.max_fetch_bytes));
  }
  Shared* shared(const std::string& group, const TopicPartition& tp, int node);
  int16_t partition_error(int node, const TopicPartition& tp) const;
  void hint_leader(ShareAnswer& a, PartAnswer& p);
  bool try_poll(int id, bool force);
  bool try_share_poll(int id, bool force);
  std::vector<PartAnswer> share_errors(int id);
  std::vector<Ready> find_ready(int id);
  void read_pass(const ShareRequest& q, std::vector<Ready>& ready, bool known) const;
  std::vector<PartAnswer> acquire_all(int id, std::vector<Ready>& ready);
  int64_t acquire_one(int id, const Ready& r, int64_t room, PartAnswer& p);
  void leave_out_aborted(const Ready& r, std::vector<Acquired>& ranges);
  void answer_share_poll(int id, std::vector<PartAnswer> parts);
  void list_parts(const ShareRequest& q, Session* s, std::vector<PartAnswer>& parts) const;
  void handle_fetch(int id, const RequestHeader& h, Reader& in);
  bool try_fetch_poll(int id, bool force);
  int16_t fetch_error(int node, const FetchPart& p) const;

  int32_t intern(const std::string& member);
  Uuid new_uuid();
  uint64_t random();

  Config config_;
  int64_t now_ = 0;
  uint64_t random_;
  Topics topics_;
  std::map<Uuid, std::string> names_;
  std::map<int, Node> nodes_;
  std::map<int, Conn> conns_;
  int last_conn_ = 0;
  int64_t sequence_ = 0;
  int coordinator_node_;
  std::map<int, int> coordinator_lies_;
  Coordinator groups_;
  std::map<std::string, GroupSettings> settings_;
  std::map<std::pair<std::string, TopicPartition>, Shared> shared_;
  std::map<std::string, int32_t> member_numbers_;
  std::vector<std::string> member_names_;
  struct Loss {
    int times;
    bool cut;
  };
  std::map<int16_t, std::vector<Fault>> faults_;
  int64_t introductions_ = 0;
  std::map<int16_t, Loss> losses_;
  int hidden_fetches_ = 0;
  int64_t hidden_throttle_ms_ = 0;
  std::map<int16_t, int64_t> requests_;
  std::set<std::pair<int64_t, int>> woken_;  // polls to look at, the oldest first
  bool running_ = false;
  std::vector<std::string> violations_;
  std::vector<std::string> notes_;
};

}  // namespace minibroker

#include "broker_admin.hpp"
#include "broker_core.hpp"
#include "broker_fetch.hpp"
#include "broker_meta.hpp"
#include "broker_share.hpp"

#endif  // MINIBROKER_BROKER_HPP
