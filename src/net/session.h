// One connection: reads requests one after another, hands each to the application and writes its
// answer, without ever doing two of these at once. So one thread at a time drives it and it needs
// neither lock nor strand: whoever holds the pending operation, or the Reply, holds the session.
//
// An answer given while the application is called goes out on the spot, by one write that does not
// wait if the peer has room; one given later, from any thread, comes back to an I/O thread first.
#pragma once

#include <memory>
#include <utility>

#include "base/http.h"
#include "net/exchange.h"
#include "net/server_core.h"

namespace betrace::kms {

template <class Transport>
class Session final : public Reply::Connection,
                      public WatchedConnection,
                      public std::enable_shared_from_this<Session<Transport>> {
 public:
  Session(Accepted accepted, Transport transport);
  ~Session() override;

  void start();

  const Request& request() const override { return exchange_.request(); }
  void send(Response response) override;

 private:
  using Clock = std::chrono::steady_clock;

  using Pieces = std::array<std::string_view, 2>;
  struct Call;  // of the application, while it lasts
  static inline thread_local Call* current_call = nullptr;

  void begin();
  void read();
  void on_read(IoError error, std::size_t count);
  void on_input_end(IoError error);
  // Goes on with what has arrived until something must be waited for.
  void advance();
  void wait_for_input();
  // False when the application keeps the Reply: the session is then no longer ours to touch.
  bool handle();
  void on_late_answer();
  void refuse(ErrorCode code, std::string_view detail);
  // These answer whether they are done; else they go on by themselves.
  bool answer(bool close);
  bool write(Pieces pieces, void (Session::*then)());
  bool answered();
  void on_written();
  void say_farewell();
  void linger();
  void drop_input();
  void end();

  const std::shared_ptr<ServerCore> core_;
  Transport transport_;
  Exchange exchange_;
  Response response_;
  Clock::time_point now_;
  bool overloaded_ = false;
};

}  // namespace betrace::kms
