# The command does not exist.
job "missing_command" {
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
        command = "/no/such/command"
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
