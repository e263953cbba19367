# Ignores every signal that it can, in the main process and in a child that left the session.
job "ignores_signals" {
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
          trap '' INT TERM HUP USR1
          setsid sleep 600 &
          echo $$ $!
          while :; do sleep 600; done
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
