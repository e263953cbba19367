# Writes its pid, then waits until somebody opens the pipe `go` in its local directory, and ends with code 7. It tells
# if it was signalled.
job "waits_for_go" {
  type = "service"

  group "group" {
    restart {
      attempts = 0
      mode     = "fail"
    }
    reschedule {
      attempts  = 0
      unlimited = false
    }
    task "task" {
      driver = "trio"
      kill_timeout = "1s"
      config {
        command = "/bin/sh"
        args = ["-c", <<-EOT
          trap 'echo signalled' INT TERM HUP
          mkfifo local/go
          echo $$
          read line <local/go
          echo went
          exit 7
        EOT
        ]
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
