# Its main process is ended by a signal.
job "death_by_signal" {
  type = "batch"

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
      config {
        command = "/bin/sh"
        args    = ["-c", "kill -USR1 $$"]
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
