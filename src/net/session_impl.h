// The definitions of Session, for the two files that instantiate it.
#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>

#include "net/session.h"

namespace betrace::kms {

template <class Transport>
struct Session<Transport>::Call {
  const Session* session;
  bool answered = false;
};

template <class Transport>
Session<Transport>::Session(Accepted accepted, Transport transport)
    : core_(std::move(accepted.core)),
      transport_(std::move(transport)),
      exchange_(core_->application, {.header_bytes_max = core_->options.header_bytes_max,
                                     .peer_is_loopback = accepted.peer_is_loopback,
                                     .tls = Transport::encrypted}),
      now_(Clock::now()) {
  const auto open = core_->connections.add(*this, transport_.socket().native_handle());
  overloaded_ = open > core_->options.connections_max;
}

template <class Transport>
Session<Transport>::~Session() {
  core_->connections.remove(*this);
}

template <class Transport>
void Session<Transport>::start() {
  if constexpr (Transport::encrypted) {
    watch(Step::closing, now_ + core_->options.head_timeout);
    transport_.async_handshake([self = this->shared_from_this()](IoError error) {
      if (error) return self->end();
      self->begin();
    });
  } else {
    begin();
  }
}

template <class Transport>
void Session<Transport>::begin() {
  if (overloaded_) {
    return refuse(ErrorCode::overloaded, "too many connections; try again later");
  }
  // A connection is made to send a request: the first one gets the time of a head.
  watch(Step::idle, now_ + core_->options.head_timeout);
  read();
}

template <class Transport>
void Session<Transport>::read() {
  const auto room = exchange_.room();
  transport_.async_read_some(boost::asio::mutable_buffer(room.data(), room.size()),
                             [self = this->shared_from_this()](IoError error, std::size_t count) {
                               self->on_read(error, count);
                             });
}

template <class Transport>
void Session<Transport>::on_read(IoError error, std::size_t count) {
  if (error) return on_input_end(error);
  now_ = Clock::now();
  exchange_.received(count);
  advance();
}

template <class Transport>
void Session<Transport>::on_input_end(IoError error) {
  if (!exchange_.begun()) return end();
  if (late()) {
    return refuse(ErrorCode::request_timeout,
                  exchange_.in_body() ? "the body of the request did not arrive in time"
                                      : "the head of the request did not arrive in time");
  }
  if (error != boost::asio::error::eof) return end();
  refuse(ErrorCode::invalid_argument, "the request ends before it is complete");
}

template <class Transport>
void Session<Transport>::advance() {
  static constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
  for (;;) {
    switch (exchange_.advance(now_)) {
      case Progress::need_more:
        return wait_for_input();
      case Progress::continue_wanted:
        if (!write({go_on, {}}, &Session::advance)) return;
        break;
      case Progress::refused:
        return refuse(exchange_.refusal().code, exchange_.refusal().detail);
      case Progress::ready:
        if (!handle() || !answer(false) || !answered()) return;
        break;
    }
  }
}

template <class Transport>
void Session<Transport>::wait_for_input() {
  const auto& options = core_->options;
  if (!exchange_.begun()) {
    if (core_->draining.load(std::memory_order_relaxed)) return end();
    watch(Step::idle, now_ + options.idle_timeout);
  } else if (exchange_.in_body()) {
    if (step() != Step::body) watch(Step::body, now_ + options.body_timeout);
  } else if (step() != Step::head) {
    watch(Step::head, now_ + options.head_timeout);
  }
  read();
}

template <class Transport>
bool Session<Transport>::handle() {
  watch(Step::handling, Clock::time_point::max());
  Call call{.session = this};
  current_call = &call;
  try {
    core_->application.handle(Reply(this->shared_from_this()));
  } catch (const std::exception& error) {  // its Reply has answered 500 as it went
    log_failed_request(error.what());
  }
  current_call = nullptr;
  return call.answered;
}

template <class Transport>
void Session<Transport>::send(Response response) {
  response_ = std::move(response);
  if (current_call != nullptr && current_call->session == this) {
    current_call->answered = true;
    return;
  }
  core_->post([self = this->shared_from_this()] { self->on_late_answer(); });
}

template <class Transport>
void Session<Transport>::on_late_answer() {
  if (core_->closed) return end();
  now_ = Clock::now();
  if (answer(false) && answered()) advance();
}

template <class Transport>
void Session<Transport>::refuse(ErrorCode code, std::string_view detail) {
  response_ = core_->application.refuse(code, detail);
  if (code == ErrorCode::overloaded) {
    const auto has_retry_after = [](const auto& header) { return header.first == "Retry-After"; };
    if (std::ranges::none_of(response_.headers, has_retry_after)) {
      response_.headers.emplace_back("Retry-After", "1");
    }
  }
  now_ = Clock::now();
  if (answer(true)) answered();
}

template <class Transport>
bool Session<Transport>::answer(bool close) {
  close = close || core_->draining.load(std::memory_order_relaxed);
  return write(exchange_.answer(std::move(response_), close), &Session::on_written);
}

template <class Transport>
bool Session<Transport>::write(Pieces pieces, void (Session::*then)()) {
  std::array<boost::asio::const_buffer, 2> buffers = {
      boost::asio::const_buffer(pieces[0].data(), pieces[0].size()),
      boost::asio::const_buffer(pieces[1].data(), pieces[1].size())};
  if constexpr (!Transport::encrypted) {
    IoError error;
    auto written = transport_.write_now(buffers, error);
    if (error) {
      end();
      return false;
    }
    for (auto& buffer : buffers) {
      const auto part = std::min(written, buffer.size());
      buffer += part;
      written -= part;
    }
    if (buffers[0].size() + buffers[1].size() == 0) return true;
  }
  watch(Step::writing, now_ + core_->options.write_timeout);
  transport_.async_write(buffers,
                         [self = this->shared_from_this(), then](IoError error, std::size_t) {
                           if (error) return self->end();
                           self->now_ = Clock::now();
                           (*self.*then)();
                         });
  return false;
}

template <class Transport>
void Session<Transport>::on_written() {
  if (answered()) advance();
}

template <class Transport>
bool Session<Transport>::answered() {
  const auto closes = exchange_.closes();
  exchange_.finish();
  if (!closes) return true;
  say_farewell();
  return false;
}

template <class Transport>
void Session<Transport>::say_farewell() {
  watch(Step::closing, now_ + core_->options.linger_timeout);
  if constexpr (Transport::encrypted) {
    transport_.async_close_notify([self = this->shared_from_this()](IoError) { self->linger(); });
  } else {
    linger();
  }
}

// A descriptor closed on unread bytes resets the connection, and the peer may lose the answer.
template <class Transport>
void Session<Transport>::linger() {
  IoError ignored;
  transport_.socket().shutdown(boost::asio::socket_base::shutdown_send, ignored);
  if (late()) {
    // Our input is shut down already, so that its end says nothing about the peer.
    watch(Step::handling, Clock::time_point::max());
    core_->connections.park(this->shared_from_this(), now_ + core_->options.linger_timeout / 4);
    return;
  }
  drop_input();
}

template <class Transport>
void Session<Transport>::drop_input() {
  const auto room = exchange_.room();
  transport_.socket().async_read_some(
      boost::asio::mutable_buffer(room.data(), room.size()),
      [self = this->shared_from_this(), room](IoError error, std::size_t count) {
        wipe(room.data(), count);
        if (error) return self->end();
        self->drop_input();
      });
}

template <class Transport>
void Session<Transport>::end() {
  core_->connections.remove(*this);
  IoError ignored;
  transport_.socket().close(ignored);
}

}  // namespace betrace::kms
