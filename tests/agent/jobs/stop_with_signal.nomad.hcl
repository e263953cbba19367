# Says which signal it was asked to end with, and ends well within the grace time.
job "stop_with_signal" {
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
      kill_signal  = "SIGUSR1"
      kill_timeout = "20s"
      config {
        command = "/bin/sh"
        args = ["-c", <<-EOT
          trap 'echo stopped by USR1; exit 0' USR1
          trap 'echo stopped by INT; exit 0' INT
          echo $$
          while :; do sleep 0.1; done
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
