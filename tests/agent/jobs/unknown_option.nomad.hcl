# An option that the driver does not have.
job "unknown_option" {
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
        command = "/bin/true"
        comand  = "/bin/false"
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
